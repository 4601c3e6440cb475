"""Live traffic: a thread that writes a few transactions every few seconds, as they would come in."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from pipeline.publish import Publisher
from pipeline.source import Source

_logger = logging.getLogger(__name__)


class Trickle:
    """Writes until it is stopped; also a context manager.

    Args:
        source: where the transactions come from.
        publisher: where they go.
        every: seconds between sendings.
        rows: transactions in each.
    """

    def __init__(self, source: Source, publisher: Publisher, *, every: float = 4.0, rows: int = 6) -> None:
        self._source = source
        self._publisher = publisher
        self._every = every
        self._rows = rows
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trickle", daemon=True)
        self.sent = 0

    def start(self) -> None:
        """Starts to write."""
        self._thread.start()

    def stop(self) -> None:
        """Returns once the sending that is under way is done."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        last = datetime.now(UTC) - timedelta(seconds=self._every)
        while not self._stopped.is_set():
            now = datetime.now(UTC)
            try:
                self._publisher.send(self._source.live(last, now, self._rows).table())
            except Exception:  # a broker that does not answer now may answer in a moment
                _logger.exception("live transactions could not be sent")
            else:
                self.sent += 1
                last = now
            self._stopped.wait(self._every)
