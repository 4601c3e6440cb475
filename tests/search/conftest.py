"""Both indexes: one suite holds for both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from catalog.lake import Lake
from infra.keys import Keys
from infra.settings import Settings
from policies.index import KnownUser, PolicyIndex, Rule, concerned
from policies.patterns import Pattern
from policies.principal import Principal
from search.answer import Answer, SearchQuestion
from search.elasticsearch import ElasticsearchIndex
from search.find import SearchDoor
from search.index import Index
from search.indexer import Indexer
from search.tantivy import TantivyIndex
from sql.access import Access
from sql.door import Door
from sql.engines.duckdb import DuckDb
from sql.places import Whole
from tests.sql.house import Record

KINDS: Final = ["tantivy", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)]


@contextmanager
def opened(request: pytest.FixtureRequest, folder: Path) -> Iterator[Index]:
    """An empty index of the kind that the fixture's parameter names; it is gone afterwards."""
    if request.param == "tantivy":
        with closing(TantivyIndex(folder / "index")) as embedded:
            yield embedded
        return
    name = f"t_{os.urandom(8).hex()}"
    with closing(ElasticsearchIndex(request.getfixturevalue("elasticsearch_url"), name)) as real:
        yield real
        for each in real._client.indices.get(index=f"{name}-*"):
            real._client.indices.delete(index=each)


@pytest.fixture(params=KINDS)
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    with opened(request, tmp_path) as made:
        yield made


READ = frozenset({"read"})


def rule(user: str, kind: str, name: str, **more: Any) -> Rule:
    """A grant to read, as the compiled policy has it."""
    said: dict[str, Any] = {"columns": None, "row_filter": None, "masks": {}, "bindings": {}, "expires_at": None}
    said |= {"actions": READ, "concerns": concerned(READ, allow=True), "allow": True, "granted_by": "test"} | more
    return Rule(id=f"{user} {kind}:{name}", principal=f"user:{user}", pattern=Pattern(kind, name), **said)


@dataclass
class House:
    """A lake, an index, who follows and who asks. `ann` may read everything."""

    lake: Lake
    index: Index
    indexer: Indexer
    search: SearchDoor
    policy: PolicyIndex

    def current(self) -> PolicyIndex:
        return self.policy

    def allow(self, *rules: Rule) -> None:
        everything = [rule("ann", "table", "*"), rule("ann", "file", "**")]
        users = [KnownUser(name, False, (), {}) for name in ("ann", "ben")]
        self.policy = PolicyIndex(self.policy.version + 1, users, [*everything, *rules])

    def follow(self) -> None:
        assert self.indexer.step() == {}
        self.search._presence._at = float("-inf")  # what was looked up a moment ago counts no more

    def ask(self, text: str, user: str = "ann", **more: Any) -> Answer:
        self.search._presence._at = float("-inf")
        return self.search.search(Access(Principal(user), "search", "r", Record()), SearchQuestion(text, **more))

    def find(self, text: str, user: str = "ann", **more: Any) -> list[Any]:
        """The first column of each hit, sorted."""
        answer = self.ask(text, user, limit=100, **more)
        assert answer.total == len(answer.hits)
        return sorted(hit.record.column(0)[0].as_py() for hit in answer.hits)


@contextmanager
def new_lake(folder: Path) -> Iterator[Lake]:
    settings = Settings(state_dir=folder / "state", lake_dir=folder / "lake")
    settings.lake_dir.mkdir()
    with closing(Lake(settings)) as made:
        made.iceberg.create_namespace("raw")
        yield made


@contextmanager
def settled(lake: Lake, index: Index) -> Iterator[House]:
    """A house over a lake and an index of its own."""
    keys = Keys(b"a secret of at least thirty-two bytes")
    with closing(DuckDb(lake.settings, lake, keys)) as engine:
        made = House(lake, index, Indexer(lake, Whole(engine), index), None, PolicyIndex(0, [], []))  # type: ignore[arg-type]
        made.search = SearchDoor(lake, made, Door(lake, made, engine, keys), index, keys)
        made.allow()
        yield made


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with new_lake(tmp_path) as made:
        yield made


@pytest.fixture
def house(lake: Lake, index: Index) -> Iterator[House]:
    with settled(lake, index) as made:
        yield made
