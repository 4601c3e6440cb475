"""Canaries: a table of our own, asked as users of our own through each door, to see that filters and masks hold.

A row filter or a mask that is silently not in effect is the failure that nobody notices. So the server looks for
itself, in `/readyz`, on the engine and the lake that answer everybody: a row that must not be seen, and a value that
must not be shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from threading import Lock
from typing import Final

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException, NamespaceAlreadyExistsError, TableAlreadyExistsError

from catalog.lake import Lake
from catalog.resources import CANARY
from infra.errors import Problem
from infra.keys import Keys
from policies.decision import Decision
from policies.index import KnownUser, PolicyIndex, Rule, concerned
from policies.masks import MASKS
from policies.patterns import Pattern
from policies.principal import Principal
from sql.access import Access, Reading
from sql.door import Door
from sql.engines import Engine
from sql.query import RowsQuestion, SqlQuestion

_SCHEMA: Final = pa.schema([("id", pa.int64()), ("seen", pa.bool_()), ("secret", pa.string())])
CANARY_WORD: Final = "canary-0123456789"
_ROWS: Final = [
    {"id": 1, "seen": True, "secret": CANARY_WORD},
    {"id": 2, "seen": False, "secret": CANARY_WORD},
    {"id": 3, "seen": None, "secret": CANARY_WORD},
]
_KEPT: Final = 5.0  # seconds that a look is good for: whoever asks /readyz without a token can't keep the engine busy


class Canaries:
    """The look through each door.

    Args:
        lake, engine, keys: those that answer everybody.
        kept: seconds that a look that found nothing is good for.
        beside: looks through doors of other rooms; each gives what does not hold.
    """

    def __init__(
        self,
        lake: Lake,
        engine: Engine,
        keys: Keys,
        kept: float = _KEPT,
        *,
        beside: Sequence[Callable[[], Iterator[str]]] = (),
    ) -> None:
        self._lake = lake
        self._withheld = engine.withheld
        self._door = Door(lake, CANARY_POLICY, engine, keys)
        self._lock = Lock()
        self._kept = kept
        self._beside = beside
        self._looked: tuple[float, str | None] = (-kept, None)

    def prepare(self) -> None:
        """Makes the canaries' table where there is none yet."""
        if self._lake.iceberg.table_exists(CANARY.name):
            return
        with suppress(NamespaceAlreadyExistsError):
            self._lake.iceberg.create_namespace(CANARY.name.partition(".")[0])
        # With its rows in one commit: another process that starts now would take an empty table for a lost one.
        with (
            suppress(TableAlreadyExistsError, CommitFailedException),  # another process was first
            self._lake.iceberg.create_table_transaction(CANARY.name, _SCHEMA) as made,
        ):
            made.append(pa.Table.from_pylist(_ROWS, _SCHEMA))

    def failure(self) -> str | None:
        """What does not hold, or None where all does."""
        with self._lock:
            at, found = self._looked
            if time.monotonic() - at >= (self._kept if found is None else _KEPT):
                found = next(self._failures(), None)
                self._looked = (time.monotonic(), found)
            return found

    def _failures(self) -> Iterator[str]:
        yield from self._through_sql()
        for look in self._beside:
            yield from look()

    def _through_sql(self) -> Iterator[str]:
        for mask in CANARY_MASKS:
            if mask in self._withheld:
                continue
            for door, rows in (("rows", self._rows), ("sql", self._sql)):
                try:
                    seen = rows(mask)
                except Problem as problem:
                    yield f"{door}: {problem.code}"
                    continue
                if [row["id"] for row in seen] != [1]:
                    yield f"{door}: a row filter is not in effect"
                elif mask is not None and seen[0]["secret"] == CANARY_WORD:
                    yield f"{door}: the mask {mask} is not in effect"
                elif mask is None and seen[0]["secret"] != CANARY_WORD:
                    yield f"{door}: a clear column is not shown"

    def _rows(self, mask: str | None) -> list[dict[str, object]]:
        return list(self._door.rows(canary_access(mask), CANARY, RowsQuestion(limit=10)).page().rows.to_pylist())

    def _sql(self, mask: str | None) -> list[dict[str, object]]:
        text = f"SELECT id, secret FROM lake.{CANARY.name}"  # noqa: S608 - the name is a constant of ours
        return list(self._door.query(canary_access(mask), SqlQuestion(text)).page().rows.to_pylist())


# One canary user for no mask, and one for each mask that fits text.
CANARY_MASKS: Final[tuple[str | None, ...]] = (
    None,
    *(name for name, mask in MASKS.items() if mask.types is None or "varchar" in mask.types),
)


class CanaryPolicy:
    """The canaries' rules: in memory, on the canaries' table alone, so that nobody else's can be changed by them.

    Attributes:
        names: the canary users.
    """

    names: Final = frozenset(f"canary-{mask or 'clear'}" for mask in CANARY_MASKS)

    def current(self) -> PolicyIndex:
        """The same at all times."""
        return _INDEX


CANARY_POLICY: Final = CanaryPolicy()


class Silent:
    """A trail that keeps nothing: nothing of the lake's is read."""

    def decided(self, decision: Decision) -> None: ...

    def reading(self, *readings: Reading) -> None: ...

    def changing(self) -> None: ...

    def returned(self, rows: int) -> None: ...


def _user(mask: str | None) -> str:
    return f"canary-{mask or 'clear'}"


def canary_access(mask: str | None) -> Access:
    """A request of the canary user for whom that mask is on the secret; the one who sees it clear where it is None."""
    return Access(Principal(_user(mask), authenticated_by="canary"), "canary", "canary", Silent())


def _rule(mask: str | None) -> Rule:
    actions = frozenset({"read"})
    return Rule(
        id=_user(mask),
        principal=f"user:{_user(mask)}",
        pattern=Pattern(CANARY.kind, CANARY.name),
        actions=actions,
        concerns=concerned(actions, allow=True),
        allow=True,
        columns=None,
        row_filter="seen = TRUE",
        masks={} if mask is None else {"secret": mask},
        bindings={},
        expires_at=None,
        granted_by="server",
    )


_INDEX: Final = PolicyIndex(
    0,
    [KnownUser(_user(mask), False, (), {}) for mask in CANARY_MASKS],
    [_rule(mask) for mask in CANARY_MASKS],
)
