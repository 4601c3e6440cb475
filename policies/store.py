"""The policy in force: asked for its version each time, read again only when that has changed."""

from __future__ import annotations

from threading import Lock

from infra.db import Database
from policies.index import PolicyIndex, build_index
from policies.version import policy_version


class PolicyStore:
    """Hands out the compiled policy. Safe to share between threads.

    Args:
        db: where rules and users are.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = Lock()
        self._index: PolicyIndex | None = None

    def current(self) -> PolicyIndex:
        """The policy of this very moment: a change that was committed before the call is in it."""
        with self._db.reading() as session:
            version = policy_version(session)
            index = self._index
            if index is not None and index.version == version:
                return index
            with self._lock:
                if self._index is None or self._index.version < version:
                    self._index = build_index(session)
                return self._index
