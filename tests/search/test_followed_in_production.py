"""In production: what Trino writes through the metastore is found by Elasticsearch, and read as Trino left it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest

from catalog.lake import Lake
from catalog.resources import Resource
from search.elasticsearch import ElasticsearchIndex
from tests.catalog.conftest import lake
from tests.catalog.test_trino_shares_tables import settings
from tests.search.conftest import House, rule, settled

__all__ = ["lake", "settings"]  # fixtures
pytestmark = [pytest.mark.trino, pytest.mark.hive, pytest.mark.elasticsearch]

T = Resource.table("raw.t")


def follow(house: House) -> None:
    """The metastore may have others' tables as well, which are not inside this lake."""
    assert T not in house.indexer.step()


def test_what_trino_writes_is_followed_and_found(
    lake: Lake, trino: Callable[[str], Sequence[Any]], elasticsearch_url: str, unique_name: str
) -> None:
    table = lake.iceberg.create_table("raw.t", pa.schema([("id", pa.int64()), ("name", pa.string())]))
    table.append(pa.table({"id": [1, 2, 3], "name": ["Ann", "Ann", "Ben"]}))
    with closing(ElasticsearchIndex(elasticsearch_url, unique_name)) as index, settled(lake, index) as house:
        house.allow(rule("ben", "table", "raw.t", row_filter="id > 3", masks={}))
        follow(house)
        assert house.find("ann", resource=T) == [1, 2]
        trino("INSERT INTO t VALUES (4, 'Ann'), (5, 'Cat')")
        trino("DELETE FROM t WHERE id = 2")
        trino("UPDATE t SET name = 'Ann' WHERE id = 5")
        (behind,) = house.ask("ann", resource=T).behind
        assert (str(behind.resource), behind.reason) == ("table:raw.t", "newer-version")
        follow(house)
        assert house.find("ann", resource=T) == [1, 4, 5]
        assert house.find("cat", resource=T) == []
        assert house.find("ann", "ben", resource=T) == [4, 5]
        trino("ALTER TABLE t ADD COLUMN city varchar")
        trino("INSERT INTO t VALUES (6, 'Dan', 'Paris')")
        follow(house)
        (hit,) = house.ask("paris", resource=T).hits
        assert hit.record.to_pylist() == [{"id": 6, "name": "Dan", "city": "Paris"}]
        trino("DROP TABLE t")
        follow(house)
        assert house.ask("ann").total == 0
        for each in index._behind_alias():
            index._client.indices.delete(index=each)
