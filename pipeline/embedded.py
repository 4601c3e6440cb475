"""The whole pipeline in one process: the source's topic, the processor in a thread, and the tables."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Self

import pyarrow as pa

from catalog.lake import Lake
from pipeline.broker import Broker
from pipeline.processor import Processor
from pipeline.publish import Publisher
from pipeline.tables import TransactionTables


class EmbeddedPipeline:
    """Puts transactions in at the head and, once entered, processes what comes in. Leave it to stop it.

    Args:
        broker, topic: where messages go.
        lake: where rows go.
    """

    def __init__(self, broker: Broker, topic: str, lake: Lake) -> None:
        self._broker, self._topic = broker, topic
        self.tables = TransactionTables(lake)
        self.publisher = Publisher(broker, topic)
        self._processor = Processor(broker, topic, self.tables)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._processor.run, args=[self._stopped], name="processor", daemon=True)

    def put(self, rows: pa.Table, at: datetime | None = None) -> None:
        """Sends transactions, and returns once they are in the lake. Only before it is entered."""
        self.publisher.send(rows, at)
        self._processor.drain({partition: end for partition, (_, end) in self._broker.ends(self._topic).items()})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with ExitStack() as stack:
            stack.callback(self._processor.close)
            self._stopped.set()
            self._thread.join()
