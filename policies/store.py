"""Where the policy in force comes from: the database, asked for its version each time."""

from __future__ import annotations

import threading
import time

from infra.db import Database
from infra.observe import PolicyReloaded, observe
from policies.index import PolicyIndex, build_index


class PolicyStore:
    """Gives the index of the policy in force. Safe to share between threads.

    Args:
        db: the database, which other nodes change as well.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._index: PolicyIndex | None = None

    def current(self) -> PolicyIndex:
        """The policy as it was committed last: a change is in force for whoever asks after it, on every node.

        One look at a number; everything is read anew only where that changed.
        """
        index = self._index
        if index is not None and index.version == self._version():
            return index
        with self._lock:  # one thread reads, the others wait for what it finds
            index = self._index
            if index is None or index.version != self._version():
                start = time.perf_counter()
                with self._db.reading() as session:
                    index = self._index = build_index(session)
                observe(PolicyReloaded(version=index.version, seconds=time.perf_counter() - start))
            return index

    def _version(self) -> int:
        return self._db.number("SELECT version FROM policy_version") or 0
