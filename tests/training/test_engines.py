"""The same rows, the same model: whether DuckDB reads them or a real Trino, over one Hive metastore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.initialise import initialise
from api.installation import Installation, open_installation
from catalog.resources import Resource
from infra.settings import Settings
from pipeline.curate import curate
from pipeline.source import Source
from pipeline.tables import CURATED, RAW
from policies.people import create_user
from sql import hash_keys
from sql.door import Door
from sql.engines.trino import Trino
from sql.query import Version
from tests.governed_trino import access
from tests.stack import only_user
from tests.training.conftest import MASKS, NOW
from training.dataset import Dataset, load
from training.fit import fit
from training.job import Provenance
from training.recipes import RECIPES
from training.rows import fetch

pytestmark = [pytest.mark.trino, pytest.mark.hive]
# Alice sees a part of the rows, with masks; carol sees everything.
CHOSEN: dict[str, dict[str, Any]] = {"spend": {"days": 2}}  # three weeks are short for more
GRANTS: tuple[dict[str, Any], ...] = (
    {"principal": "user:alice", "row_filter": "country = 'FR'", "masks": MASKS},
    {"principal": "user:carol"},
)


@dataclass(frozen=True)
class Shop:
    """One lake and its policies, and the ways to them by the engine's name."""

    installation: Installation
    doors: dict[str, Door]

    def read(self, engine: str, recipe: str, user: str, folder: Path) -> tuple[Dataset, Provenance]:
        """What a training of a recipe is given."""
        made = RECIPES[recipe]
        here = folder / f"{engine}-{len(list(folder.iterdir()))}"
        here.mkdir()
        source = fetch(
            self.doors[engine],
            self.installation.lake,
            access(user),
            Resource.table(made.table),
            recipe=made,
            parameters=made.chosen(CHOSEN.get(recipe, {})),
            version=Version(),
            folder=here,
            alive=lambda: None,
        )
        return load(here / "rows.arrow"), source


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, hive_url: str, trino_url: str) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("engines")
    for part in (folder.parent, folder):
        part.chmod(0o755)  # Trino reads the lake as another user
    settings = Settings(
        state_dir=folder / "state", lake_dir=folder / "lake", catalog="hive", catalog_uri=hive_url, canaries=False
    )
    with only_user(hive_url):
        issued = initialise(settings)
        assert issued is not None
        with closing(open_installation(settings)) as installation:
            fill(installation, issued.text)
            lake, keys = installation.lake, installation.keys
            hash_keys.publish(lake, keys)
            trino = Trino(settings.model_copy(update={"trino_url": trino_url, "trino_enforcement": "rewrite"}))
            with closing(trino):
                asking = Door(lake, installation.policies, trino, keys, embedded=installation.embedded)
                yield Shop(installation, {"duckdb": installation.door, "trino": asking})


def fill(installation: Installation, token: str) -> None:
    raw = pa.concat_tables(day.table() for day in Source().history(NOW, days=21, per_day=150))
    lake = installation.lake.iceberg
    for table, rows in ((RAW, raw), (CURATED, curate(raw, now=NOW).accepted)):
        lake.create_namespace(table.name.partition(".")[0])
        half = len(rows) // 2  # two files, which engines read in an order of their own
        made = lake.create_table(table.name, rows.schema)
        made.append(rows[half:])
        made.append(rows[:half])
    with installation.db.writing() as session:
        for name in ("alice", "carol"):
            create_user(session, name, now=NOW)
    client = TestClient(create_app(installation))
    for table in (RAW, CURATED):
        for grant in GRANTS:
            body = {"resource": str(table), "actions": ["read", "train"], **grant}
            answer = client.post("/v1/grants", json=body, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("user", ["alice", "carol"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_both_engines_give_the_same_digest_and_measures(shop: Shop, tmp_path: Path, recipe: str, user: str) -> None:
    made = RECIPES[recipe]
    ours, source = shop.read("duckdb", recipe, user, tmp_path)
    theirs, there = shop.read("trino", recipe, user, tmp_path)
    again, _ = shop.read("trino", recipe, user, tmp_path)
    assert len(ours.rows) > (100 if user == "alice" else 1000)
    assert ours.digest == theirs.digest == again.digest
    assert ours.rows.equals(theirs.rows)
    assert source.masked == (tuple(name for name in source.columns if name in MASKS) if user == "alice" else ())
    assert replace(there, sql=source.sql) == source  # each engine is asked in its own words
    fitted = [
        fit(made, dataset.rows, made.chosen(CHOSEN.get(recipe, {})), 7, lambda: None) for dataset in (ours, theirs)
    ]
    assert fitted[0].measures == fitted[1].measures
    assert fitted[0].baselines == fitted[1].baselines
    assert fitted[0].validated == fitted[1].validated
