"""Answers Trino's questions, out of memory: the policy's index and what was worked out from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from catalog.lake import Lake
from catalog.lru import Lru
from catalog.relations import Relation
from catalog.resources import CANARY, RESERVED_NAMESPACES, Resource
from infra.errors import Problem
from policies.decide import decide
from policies.decision import Decision
from policies.index import PolicyIndex
from policies.principal import Principal
from sql.canaries import CANARY_POLICY
from sql.door import Policies
from sql.opa.operations import OPERATIONS, of_trino
from sql.opa.question import CATALOG, BadQuestion, Question, TableAsked, table_asked
from sql.opa.shown import NOTHING, Shown, shown_to

_SCHEMA_KEPT: Final = 1.0  # seconds: a renamed column is asked by its new name within that time
_MOST_KEPT: Final = 4096
_LONG_LIST: Final = 500
_LISTS_KEPT: Final = 64
_OWN: Final = RESERVED_NAMESPACES | {CANARY.name.partition(".")[0]}


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer that is worth a record.

    Args:
        allowed: whether it may be done.
        table: the lake's table that it is about.
        columns: that are selected.
        decision: what decided, where a table is read.
        row_filter: in force, in Trino's SQL.
        masked: the masked columns among `columns`.
    """

    allowed: bool
    table: Resource | None = None
    columns: tuple[str, ...] = ()
    decision: Decision | None = field(default=None, compare=False)
    row_filter: str | None = None
    masked: tuple[str, ...] = ()


class Authority:
    """What Trino is told. Safe to share between threads.

    Args:
        policies, lake: what is in force, and what there is.
        service: the user that Sluice authenticates to Trino as.
    """

    def __init__(self, policies: Policies, lake: Lake, service: str) -> None:
        self._policies, self._lake, self._service = policies, lake, service
        self._schemas: dict[Resource, tuple[float, tuple[Relation, ...]]] = {}
        self._shown: Lru[int, tuple[Decision, Shown]] = Lru(_MOST_KEPT)
        self._known: dict[tuple[int, str], _Known] = {}
        self._lists: Lru[tuple[int, int], tuple[object, object, list[int]]] = Lru(_LISTS_KEPT)

    @property
    def evaluator(self) -> str:
        """The identity that filters and masks are evaluated as, so that they may use columns that the user may not
        see. It may select, but run nothing, and nobody may become it."""
        return f"{self._service}-policy"

    def allow(self, question: Question) -> Verdict:
        """Decides one question. An operation that is not known is denied, and so is one whose resource is not."""
        asker = self._asker(question)
        operation = OPERATIONS.get(question.operation)
        try:
            allowed = operation is not None and operation.rule(asker, question.resource)
        except (KeyError, TypeError, AttributeError, BadQuestion):
            return Verdict(False)
        if question.operation != "SelectFromColumns" or asker.evaluating:
            return Verdict(allowed)
        table = table_asked(question.resource["table"])
        if table.resource is None:
            return Verdict(allowed)
        shown = asker.shown(table)
        masked = tuple(filter(shown.masked.__contains__, table.columns))
        decision = asker.decision(table.resource)
        return Verdict(allowed, table.resource, table.columns, decision, shown.row_filter, masked)

    def batch(self, question: Question) -> list[int]:
        """Which of the candidates are left: their places. For `FilterColumns`, the places of one table's columns."""
        operation = OPERATIONS.get(question.operation)
        if operation is None or not operation.filters:
            return []
        asker, rule = self._asker(question), operation.rule
        candidates = question.candidates
        try:
            if question.operation == "FilterTables" and asker.active:
                return asker.known_tables()
            if question.operation == "FilterColumns":
                table = candidates[0]["table"]
                columns = table["columns"]
                return [
                    place
                    for place, column in enumerate(columns)
                    if rule(asker, {"table": {**table, "columns": [column]}})
                ]
            return [place for place, candidate in enumerate(candidates) if rule(asker, candidate)]
        except (KeyError, TypeError, IndexError, AttributeError):
            raise BadQuestion("A filter's resources are not as they should be.", hint=_NEWER) from None

    def row_filters(self, question: Question) -> list[dict[str, str]]:
        """The row filters of a table: one at most, since several grants are one condition together."""
        asker = self._asker(question)
        table = table_asked(_member(question.resource, "table"))
        if table.resource is None or asker.evaluating:
            return []
        condition = asker.shown(table).row_filter
        return [] if condition is None else [{"expression": condition, "identity": self.evaluator}]

    def column_masks(self, question: Question) -> list[dict[str, Any]]:
        """The masks of columns, by their places among the candidates. What is not shown at all is null as well, behind
        the denial that a query for it meets."""
        asker = self._asker(question)
        masks: list[dict[str, Any]] = []
        last: tuple[object, ...] = ()
        shown: Shown | None = None
        for place, candidate in enumerate(question.candidates):
            column = _member(candidate, "column")
            named = (column.get("catalogName"), column.get("schemaName"), column.get("tableName"))
            if named != last:
                table = table_asked(column)
                last = named
                shown = None if table.resource is None or asker.evaluating else asker.shown(table)
            if shown is None:
                continue
            mask = shown.columns.get(str(column.get("columnName")).lower(), "NULL")
            if mask is not None:
                masks.append({"index": place, "viewExpression": {"expression": mask, "identity": self.evaluator}})
        return masks

    def _asker(self, question: Question) -> _Asker:
        canary = question.user in CANARY_POLICY.names
        return _Asker(self, question, CANARY_POLICY.current() if canary else self._policies.current())

    def known(self, index: PolicyIndex, user: str, now: datetime) -> _Known:
        """What a user may know of, worked out once for each version of the policy, until the next rule ends."""
        key = (index.version, user)
        known = self._known.get(key)
        if known is None or not known.since <= now < known.until:
            if len(self._known) >= _MOST_KEPT or any(version != index.version for version, _ in self._known):
                self._known.clear()
            known = self._known[key] = _Known(index, user, now)
        return known

    def known_places(self, known: _Known, question: Question) -> list[int]:
        """Which tables of a list one may know of. A long list that came before, as the same object (it does, see
        `api.long_route`), was gone through already."""
        candidates = question.candidates
        if len(candidates) < _LONG_LIST:
            return known.places(question)
        # Both are kept with the answer, so that their identities stay their own.
        key = (id(known), id(candidates))
        return self._lists.get(key, lambda: (known, candidates, known.places(question)))[2]

    def schemas(self, resource: Resource) -> tuple[Relation, ...]:
        """The table under each schema that it ever had; empty where there is none."""
        looked = self._schemas.get(resource)
        if looked is not None and time.monotonic() - looked[0] < _SCHEMA_KEPT:
            return looked[1]
        try:
            found = self._lake.under_each_schema(resource)
        except Problem:
            found = ()
        if len(self._schemas) >= _MOST_KEPT:
            self._schemas.clear()
        self._schemas[resource] = (time.monotonic(), found)
        return found

    def compiled(self, decision: Decision, make: Callable[[], Shown]) -> Shown:
        """What was worked out from a decision. The decision is kept with it, so that its identity stays its own."""
        return self._shown.get(id(decision), lambda: (decision, make()))[1]

    def is_service(self, user: str) -> bool:
        return user == self._service


class _Asker:
    """Implements `sql.opa.operations.Asker` over the policy in force."""

    def __init__(self, authority: Authority, question: Question, index: PolicyIndex) -> None:
        self._authority, self.question, self._index = authority, question, index
        self.service = authority.is_service(question.user)
        self.evaluating = question.user == authority.evaluator
        self.active = not self.service and not self.evaluating and self.is_active(question.user)
        self._principal = Principal(question.user, authenticated_by="trino")
        self._now = datetime.now(UTC)

    def is_active(self, user: str) -> bool:
        if self._authority.is_service(user) or user == self._authority.evaluator:
            return False
        index = CANARY_POLICY.current() if user in CANARY_POLICY.names else self._index
        known = index.user(user)
        return known is not None and not known.disabled

    def knows_table(self, schema: str, name: str) -> bool:
        return self._known.table(schema, name)

    def known_tables(self) -> list[int]:
        return self._authority.known_places(self._known, self.question)

    def knows_schema(self, name: str) -> bool:
        return self._known.schema(name)

    def decision(self, resource: Resource, action: str = "read") -> Decision | None:
        schemas = self._authority.schemas(resource)
        if not schemas:
            return None
        return decide(self._index, self._principal, action, resource, schemas[0], now=self._now)

    def shown(self, table: TableAsked, action: str = "read") -> Shown:
        resource = table.resource
        decision = None if resource is None else self.decision(resource, action)
        if resource is None or decision is None:
            return NOTHING

        def make() -> Shown:
            return shown_to(
                [
                    (relation, decide(self._index, self._principal, action, resource, relation, now=self._now))
                    for relation in self._authority.schemas(resource)
                ]
            )

        return self._authority.compiled(decision, make)

    def described(self, table: TableAsked) -> frozenset[str]:
        readable = self.shown(table)
        return frozenset((readable if readable.readable else self.shown(table, "discover")).columns)

    @property
    def _known(self) -> _Known:
        return self._authority.known(self._index, self.question.user, self._now)


class _Known:
    """Which tables a user may know of."""

    def __init__(self, index: PolicyIndex, user: str, now: datetime) -> None:
        self._index, self._now, self._principal = index, now, Principal(user, authenticated_by="trino")
        known = index.user(user)
        rules = index.held(known.subjects) if known is not None else []
        ends = [rule.expires_at for rule in rules if rule.expires_at is not None and rule.expires_at > now]
        self.since, self.until = now, min(ends, default=datetime.max.replace(tzinfo=UTC))
        in_force = [rule for rule in rules if rule.in_force(now)]
        denied = [rule.pattern for rule in in_force if rule.denies and "discover" in rule.concerns]
        allowed = [rule.pattern for rule in in_force if rule.allow and rule.pattern.kind == "table"]
        open_ = [pattern for pattern in allowed if not any(other.covers(pattern) for other in denied)]
        self._everything = any(pattern.name == "*" for pattern in open_)
        self._schemas = frozenset(pattern.name.partition(".")[0] for pattern in open_)
        self._tables: dict[tuple[str, str], bool] = {}

    def table(self, schema: str, name: str) -> bool:
        key = (schema, name)
        found = self._tables.get(key)
        if found is None:
            table = TableAsked(CATALOG, schema.lower(), name.lower()).resource
            found = self._tables[key] = table is not None and self._decided(table)
        return found

    def places(self, question: Question) -> list[int]:
        """The places of the tables among the candidates: a loop of its own, since a lake has thousands."""
        tables, found = self._tables, []
        for place, candidate in enumerate(question.candidates):
            table = candidate["table"]
            schema, name = table["schemaName"], table["tableName"]
            if table["catalogName"] != CATALOG or schema == "information_schema":
                if of_trino(table_asked(table)):
                    found.append(place)
                continue
            known = tables.get((schema, name))
            if known if known is not None else self.table(schema, name):
                found.append(place)
        return found

    def schema(self, name: str) -> bool:
        return (self._everything and name not in _OWN) or name in self._schemas

    def _decided(self, table: Resource) -> bool:
        if table == CANARY and self._principal.name not in CANARY_POLICY.names:
            return False
        return decide(self._index, self._principal, "discover", table, now=self._now).known


def _member(given: Any, name: str) -> Any:
    try:
        return given[name]
    except (KeyError, TypeError):
        raise BadQuestion(f"A question without its {name}.", hint=_NEWER) from None


_NEWER: Final = "Sluice knows the OPA plugin of Trino 476 and newer."
