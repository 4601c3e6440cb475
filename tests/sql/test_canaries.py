"""Canaries: an engine that leaves a filter or a mask out is found before anybody is served by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyiceberg.table import Transaction
from sqlglot import exp

import sql.rules.governed_relations as rule
from catalog.lake import Lake
from catalog.resources import CANARY
from infra.keys import Keys
from infra.settings import Settings
from policies.masks import MASKS, Mask
from sql.canaries import Canaries
from sql.engines.duckdb import DuckDb

KEYS = Keys(b"a secret of at least thirty-two bytes")


@pytest.fixture
def canaries(tmp_path: Path) -> Iterator[Canaries]:
    settings = Settings(state_dir=tmp_path / "state", lake_dir=tmp_path / "lake")
    settings.lake_dir.mkdir()
    lake = Lake(settings)
    engine = DuckDb(settings, lake, KEYS)
    canaries = Canaries(lake, engine, KEYS)
    canaries.prepare()
    canaries.prepare()  # changes nothing
    assert [info.resource for info in lake.tables()] == []
    assert lake.iceberg.table_exists(CANARY.name)
    yield canaries
    engine.close()
    lake.close()


def test_they_sing_where_all_holds(canaries: Canaries) -> None:
    assert canaries.failure() is None


def test_a_filter_that_is_left_out_is_found(canaries: Canaries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "visible_rows", lambda _views, _hidden: None)
    assert canaries.failure() == "rows: a row filter is not in effect"


@pytest.mark.parametrize("name", ["mask-alphanum", "sha-256-global", "replace-with-null"])
def test_a_mask_that_is_left_out_is_found(canaries: Canaries, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def clear(column: exp.Expr, _type: str) -> exp.Expr:
        return column

    of = MASKS[name]
    monkeypatch.setitem(MASKS, name, Mask(of.name, of.description, of.example, of.types, of.rank, clear))
    assert canaries.failure() == f"rows: the mask {name} is not in effect"


def test_processes_that_start_at_once_make_one_table_and_never_an_empty_one(
    canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = canaries._lake.iceberg
    with monkeypatch.context() as patched:
        patched.setattr(catalog, "table_exists", lambda _name: False)  # as it was before the other one made it
        canaries.prepare()
    assert canaries.failure() is None
    assert [each.summary["total-records"] for each in catalog.load_table(CANARY.name).snapshots()] == ["3"]
    catalog.drop_table(CANARY.name)
    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "append", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            canaries.prepare()
    assert not catalog.table_exists(CANARY.name)


def test_without_their_table_there_is_no_song(canaries: Canaries) -> None:
    canaries._lake.iceberg.drop_table(CANARY.name)
    assert canaries.failure() == "rows: resource-not-found"
