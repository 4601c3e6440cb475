"""The audit log of this process: intents that are waited for, outcomes that are not."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from infra.errors import Unavailable
from infra.keys import Keys
from infra.observe import AuditWritten, Failed, observe
from infra.settings import Settings
from policies.audit.appender import SEGMENT_BYTES, Appender
from policies.audit.chain import RECORD_LIMIT, Damaged
from policies.audit.record import Intent, Outcome

_BATCH: Final = 512  # records that share one sync
_WAITING: Final = 10_000  # outcomes that may wait; whoever adds one more writes them
_OUTCOME_DELAY: Final = 0.2  # seconds in which an outcome may ride along with somebody's intent
_RETRY_DELAY: Final = 1.0


class AuditUnavailable(Unavailable):
    code, title = "audit-unavailable", "The request can't be recorded"


class _Entry:
    """A record on its way: `done` once it is durable or failed, which `failure` tells."""

    __slots__ = ("content", "done", "failure", "future", "sequence", "waited")

    def __init__(self, content: bytes, *, waited: bool, future: Future[int] | None = None) -> None:
        self.content = content
        self.waited = waited
        self.future = future
        self.sequence = 0
        self.done = False
        self.failure: BaseException | None = None

    def finish(self, sequence: int, failure: BaseException | None = None) -> None:
        self.sequence, self.failure, self.done = sequence, failure, True
        if self.future is not None:
            if failure is None:
                self.future.set_result(sequence)
            else:
                self.future.set_exception(_refusal(failure))


class AuditLog:
    """Appends to the chained log in `state_dir/audit`; thread-safe, and safe beside other processes of the node.

    Commits are shared: whoever gets the turn writes for all who wait, so that many concurrent requests cost one sync,
    and a single one costs no hand-over to another thread.

    Args:
        settings: where the log is, and how often it is signed.
        keys: of the installation.
        segment_bytes: size at which a file of the log is followed by the next.
    """

    def __init__(self, settings: Settings, keys: Keys, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.on = settings.audit == "on"
        self._appender = Appender(audit_folder(settings), keys.audit, settings.audit_checkpoint_records, segment_bytes)
        self._pending: deque[_Entry] = deque()
        self._turn = threading.Lock()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._closed = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    @property
    def failure(self) -> str | None:
        """Why nothing can be recorded at present, for `/readyz` and the operator's log; None while all is well."""
        return None if self._failure is None else str(self._failure)

    def start(self) -> None:
        """Puts right what a crash left, and starts to write.

        Raises:
            AuditUnavailable: the log can't be written.
        """
        if not self.on:
            return
        with self._turn:
            try:
                self._appender.append([])
            except (OSError, Damaged) as failure:
                self._failure = failure
                raise _refusal(failure) from failure
        self._thread.start()

    def intent(self, record: Intent) -> int:
        """Records what is about to be done; returns once it is durable.

        Returns:
            Its sequence, for the outcome; 0 where the audit is off.

        Raises:
            AuditUnavailable: it isn't recorded, so it must not be done.
        """
        return self.intents([record])[0]

    def intents(self, records: Sequence[Intent]) -> list[int]:
        """The same for several, which share a sync."""
        if not self.on:
            return [0] * len(records)
        entries = [_Entry(self._content(record), waited=True) for record in records]
        self._pending.extend(entries)
        with self._turn:
            while not all(entry.done for entry in entries):  # unless another's turn wrote them meanwhile
                self._commit()
        for entry in entries:
            if entry.failure is not None:
                raise _refusal(entry.failure) from entry.failure
        return [entry.sequence for entry in entries]

    def intent_async(self, record: Intent) -> Future[int]:
        """The same for callers that can't block, such as an event loop (`asyncio.wrap_future`)."""
        future: Future[int] = Future()
        if self.on:
            self._pending.append(_Entry(self._content(record), waited=True, future=future))
            self._hurry.set()
            self._wake.set()
        else:
            future.set_result(0)
        return future

    def outcome(self, record: Outcome) -> None:
        """Records how it ended, soon. While the log can't be written, outcomes are kept and written later.

        Raises:
            AuditUnavailable: so many wait already that this one is not kept.
        """
        if not self.on:
            return
        entry = _Entry(self._content(record), waited=False)
        if len(self._pending) >= _WAITING:
            self.flush()
        self._pending.append(entry)
        self._wake.set()

    def flush(self) -> None:
        """Returns once everything given so far is durable.

        Raises:
            AuditUnavailable: it can't be written now.
        """
        with self._turn:
            last = self._pending[-1] if self._pending else None
            while last is not None and not last.done:
                self._commit()
                if self._failure is not None:
                    raise _refusal(self._failure) from self._failure

    def close(self) -> None:
        """Writes what waits and signs a last checkpoint; later intents are refused."""
        with self._turn:
            if self._closed or not self.on:
                return
            while self._pending and self._failure is None:
                self._commit()
            self._closed = True
            for entry in self._pending:
                entry.finish(0, ValueError("the audit is closed"))
            self._pending.clear()
            if self._failure is None:
                try:
                    self._appender.append([], checkpoint=True)
                except (OSError, Damaged) as failure:
                    self._failure = failure
            self._appender.close()
        self._wake.set()
        self._hurry.set()
        if self._thread.is_alive():
            self._thread.join()

    def _content(self, record: Intent | Outcome) -> bytes:
        if self._closed:
            raise _refusal(ValueError("the audit is closed"))
        content = record.content()
        if len(content) > RECORD_LIMIT - 1024:
            raise _refusal(ValueError(f"a record of {len(content)} bytes is too large"))
        return content

    def _commit(self) -> None:
        """Writes one batch; call it with the turn. Waited records fail together, outcomes stay for the next time."""
        batch = [self._pending.popleft() for _ in range(min(len(self._pending), _BATCH))]
        try:
            if self._closed:
                raise ValueError("the audit is closed")  # noqa: TRY301 - the same path as any failure
            start = time.perf_counter()
            sequence = self._appender.append([entry.content for entry in batch])
            observe(AuditWritten(records=len(batch), seconds=time.perf_counter() - start))
        except Exception as failure:  # whatever it is, nobody who waits may be left without an answer
            observe(Failed(where="audit", error=failure))
            self._failure = failure
            self._pending.extendleft(entry for entry in reversed(batch) if not entry.waited)
            for entry in batch:
                if entry.waited:
                    entry.finish(0, failure)
            return
        self._failure = None
        for number, entry in enumerate(batch):
            entry.finish(sequence + number)

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(_RETRY_DELAY if self._pending else None)
            self._hurry.wait(_RETRY_DELAY if self._failure else _OUTCOME_DELAY)
            self._wake.clear()
            self._hurry.clear()
            with self._turn:
                if self._pending and not self._closed:
                    self._commit()


def audit_folder(settings: Settings) -> Path:
    return settings.state_dir / "audit"


def _refusal(failure: BaseException) -> AuditUnavailable:
    refusal = AuditUnavailable(
        "The request could not be recorded, so it was not answered.",
        hint="Try again after a moment; whoever runs this server finds the cause in its log and in /readyz.",
        headers={"Retry-After": "1"},
    )
    refusal.__cause__ = failure
    return refusal
