"""Training on a million rows over HTTP: how long it takes, and what pages of rows cost meanwhile."""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from api.initialise import initialise
from bench.lake import Client, serving
from bench.measure import AtMost, Result, judge
from catalog.lake import Lake
from infra.settings import Settings
from pipeline.curate import curate
from pipeline.source import Source
from pipeline.tables import CURATED, RAW
from training.recipes import RECIPES
from training.server import free_port, mlflow_server

T = TypeVar("T")
DAYS, PER_DAY, PEOPLE = 30, 33_000, 20_000  # more than a million rows in either table
LIMIT = 180.0  # seconds
PAUSE = 0.05  # seconds of a reader between an answer and its next question
QUIET = 30.0  # seconds of nothing but the reader, before each training


def results(rounds: int) -> Iterator[Result]:  # noqa: ARG001 - each training is one round: a million rows take a minute
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        settings, token = make_shop(Path(folder))
        mlflow = stack.enter_context(mlflow_server(Path(folder) / "mlflow", free_port()))
        mlflow.wait()
        reader, _ = stack.enter_context(serving(settings, token, SLUICE_MLFLOW_URL=mlflow.url))
        list(itertools.islice(asked(reader), 100))  # warm
        quiet: list[float] = []
        busy: list[float] = []
        for name in RECIPES:
            before, _ = read_while(reader, lambda: time.sleep(QUIET))
            meanwhile, (seconds, result) = read_while(reader, partial(train, Client(reader.port, token), name))
            quiet.append(p99(before))
            busy.append(p99(meanwhile))
            print(
                f"       {name}: p99 {quiet[-1]:.0f} -> {busy[-1]:.0f} ms, "
                f"p50 {statistics.median(before):.0f} -> {statistics.median(meanwhile):.0f} ms"
            )
            yield Result(
                id=f"training-{name}",
                what=f"Training {name} on {result['rows']:,} rows, from the call to the registered version, seconds.",
                ours=float(f"{seconds:.4g}"),
                theirs=LIMIT,
                peer="the limit",
                ratio=float(f"{seconds / LIMIT:.4g}"),
                target=str(AtMost("ours", LIMIT)),
                holds=seconds <= LIMIT,
                spread=0.0,
            )
        yield judge(
            "rows-while-training",
            "A page of rows over HTTP while a million rows are trained on, p99 of each recipe, milliseconds.",
            busy,
            quiet,
            peer="ourselves, with no training",
            target=AtMost("ratio", 3),
        )


def make_shop(home: Path) -> tuple[Settings, str]:
    """The demo's kind of lake, much larger. Returns the admin's token too."""
    settings = Settings(state_dir=home / "state", lake_dir=home / "lake")
    issued = initialise(settings)
    if issued is None:
        raise RuntimeError("a fresh folder is needed")
    lake = Lake(settings)
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    for namespace in ("raw", "curated"):
        lake.iceberg.create_namespace(namespace)
    for place, day in enumerate(Source(people=PEOPLE).history(now, days=DAYS, per_day=PER_DAY)):
        raw = day.table()
        for table, rows in ((RAW, raw), (CURATED, curate(raw, now=now).accepted)):
            if place == 0:
                lake.iceberg.create_table(table.name, rows.schema)
            lake.iceberg.load_table(table.name).append(rows)
    lake.close()
    return settings, issued.text


def asked(client: Client) -> Iterator[float]:
    """Asks for one page after the other. Gives the milliseconds of each."""
    for table in itertools.cycle((RAW, CURATED)):
        start = time.perf_counter()
        client.get(f"/v1/tables/{table.name}/rows?limit=10")
        yield (time.perf_counter() - start) * 1000


def read_while(client: Client, work: Callable[[], T]) -> tuple[list[float], T]:
    """Asks for one page after the other while work is done. Gives the milliseconds of each, and what the work gives."""
    with ThreadPoolExecutor(1) as worker:
        working = worker.submit(work)
        taken: list[float] = []
        for milliseconds in asked(client):
            taken.append(milliseconds)
            if wait([working], PAUSE).done:
                break
        return taken, working.result()


def train(client: Client, recipe: str) -> tuple[float, dict[str, Any]]:
    """Seconds, and the operation's result."""
    start = time.perf_counter()
    operation = client.post(f"/v1/models/{recipe}/trainings", {})
    while True:
        status = json.loads(client.get(f"/v1/operations/{operation['id']}"))
        if status["state"] == "succeeded":
            return time.perf_counter() - start, status["result"]
        if status["state"] not in {"queued", "running"}:
            raise RuntimeError(f"the training ended as {status}")
        time.sleep(0.5)


def p99(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100)[-1]
