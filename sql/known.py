"""What one caller may know of the lake: tables and files they may discover, columns they may read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog.lake import Lake
from catalog.relations import Column
from catalog.resources import Resource
from infra.errors import Invalid, Problem
from policies.decide import decide
from policies.index import PolicyIndex
from policies.principal import Principal

FILES = "files"


@dataclass(frozen=True, slots=True)
class KnownTable:
    """A table, or a file, that the caller may discover.

    Args:
        schema, name: as SQL names it.
        columns: those that the caller may read; empty where they may not read it.
    """

    schema: str
    name: str
    columns: tuple[Column, ...] = ()


class Known:
    """Answers for one caller at one moment.

    Args:
        lake: what there is.
        index: the policy in force.
        principal: the caller.
    """

    def __init__(self, lake: Lake, index: PolicyIndex, principal: Principal) -> None:
        self._lake, self._index, self._principal = lake, index, principal
        self._now = datetime.now(UTC)
        self.user, self.roles = principal.name, tuple(sorted(principal.roles))

    def namespaces(self) -> list[str]:
        """Namespaces in which the caller may discover anything, `files` last."""
        found = sorted({resource.name.partition(".")[0] for resource in self._tables()})
        return [*found, FILES] if next(iter(self._files()), None) is not None else found

    def tables(self, schema: str | None = None) -> Iterator[KnownTable]:
        """Tables and files by name, without their columns."""
        for resource in self._tables():
            namespace, _, name = resource.name.partition(".")
            if schema in {None, namespace}:
                yield KnownTable(namespace, name)
        if schema in {None, FILES}:
            for resource in self._files():
                yield KnownTable(FILES, resource.name)

    def described(self, schema: str | None = None, table: str | None = None) -> Iterator[KnownTable]:
        """Tables with their columns. A file has to be opened for that, so only the one that is asked for is told."""
        for resource in self._tables():
            namespace, _, name = resource.name.partition(".")
            if schema in {None, namespace} and table in {None, name}:
                yield KnownTable(namespace, name, self._columns(resource))
        if schema == FILES and table is not None:
            with suppress(Invalid):
                resource = Resource.file(table)
                if self._discovered(resource):
                    yield KnownTable(FILES, table, self._columns(resource))

    def _tables(self) -> Iterator[Resource]:
        return (info.resource for info in self._lake.tables() if self._discovered(info.resource))

    def _files(self) -> Iterator[Resource]:
        return (file.resource for file in self._lake.files() if self._discovered(file.resource))

    def _discovered(self, resource: Resource) -> bool:
        return decide(self._index, self._principal, "discover", resource, now=self._now).allowed

    def _columns(self, resource: Resource) -> tuple[Column, ...]:
        if not decide(self._index, self._principal, "read", resource, now=self._now).allowed:
            return ()
        with suppress(Problem):  # it went away, or can't be read at the moment
            relation = self._lake.relation(resource)
            decision = decide(self._index, self._principal, "read", resource, relation, now=self._now)
            shown = frozenset(decision.columns)
            return tuple(column for column in relation.columns if column.name in shown)
        return ()
