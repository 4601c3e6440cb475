"""`sluice pipeline`: the processor, and the simulated source."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Annotated

import typer

from api.cli.terminal import tell

_PARTITIONS = 4


def add_to(app: typer.Typer) -> None:
    commands = typer.Typer(name="pipeline", help="From Kafka into the lake.", no_args_is_help=True)
    commands.command()(run)
    commands.command()(simulate)
    app.add_typer(commands)


def run(
    *,
    group: Annotated[
        str, typer.Option(help="Processors of one group share the topic's partitions.")
    ] = "sluice-processor",
    instance: Annotated[
        str | None,
        typer.Option(help="A name of its own for each processor, so that it gets its partitions back at once."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="The most messages in one commit.")] = 50_000,
) -> None:
    """Process the topic's messages into raw, curated and quarantine until interrupted: each exactly once."""
    from catalog.lake import Lake
    from infra.lineage import telling
    from infra.observe import log_to_stderr, subscribe
    from infra.settings import load
    from pipeline.broker import Broker
    from pipeline.processor import Processor
    from pipeline.tables import TransactionTables

    settings = load()
    subscribe(log_to_stderr(settings.log_level))
    broker = Broker.of(settings)
    lake = Lake(settings)
    processor = Processor(
        broker, settings.kafka_topic, TransactionTables(lake), group=group, instance=instance, batch=batch
    )
    tell(f"Processing {settings.kafka_topic}. Ctrl-C ends it after the batch that is under way.")
    try:
        with telling(settings):
            processor.run(_interrupted())
    finally:
        processor.close()
        lake.close()


def simulate(
    *,
    rate: Annotated[float, typer.Option(min=0.1, help="Transactions a second.")] = 5.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same customers.")] = 7,
) -> None:
    """Send simulated transactions to the topic until interrupted. Makes the topic where there is none."""
    from infra.settings import load
    from pipeline.broker import Broker
    from pipeline.publish import Publisher
    from pipeline.source import Source
    from pipeline.trickle import Trickle

    settings = load()
    broker = Broker.of(settings)
    broker.create(settings.kafka_topic, _PARTITIONS)
    every = max(1.0, 1 / rate)
    stop = _interrupted()
    with Trickle(Source(seed), Publisher(broker, settings.kafka_topic), every=every, rows=round(rate * every)):
        tell(f"Sending to {settings.kafka_topic}. Ctrl-C ends it.")
        stop.wait()


def _interrupted() -> threading.Event:
    """An event that SIGINT and SIGTERM set."""
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    return stop
