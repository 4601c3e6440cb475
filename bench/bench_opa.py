"""What Trino is told, in this process: each answer's 99th percentile, at 10,000 rules, 500 columns and 5,000 tables.

In time of the processor, so that neighbours on the machine don't count.

Every question has a query id of its own, as Trino's have, and is asked as JSON: parsing and writing are in the time.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from bench.bench_policy_decision import policy_of
from bench.measure import AtMost, Result, judge
from catalog.lake import Lake
from infra.settings import Settings
from policies.index import PolicyIndex
from sql.opa.authority import Authority
from sql.opa.question import question

RULES, COLUMNS, TABLES = 10_000, 500, 5_000
_CALLS = 200  # of each round; the slowest two make its 99th percentile


class _Policies:
    def __init__(self, index: PolicyIndex) -> None:
        self._index = index

    def current(self) -> PolicyIndex:
        return self._index


def results(rounds: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        lake = _lake(Path(folder))
        authority = Authority(_Policies(policy_of(RULES)), lake, "sluice")
        plain = _parsing()
        for name, what, ask in _questions(authority):
            ours, theirs = [], []
            for _ in range(rounds):
                ours.append(_percentile(ask))
                theirs.append(_percentile(plain))
            yield judge(
                f"opa-{name}",
                f"{what} 99th percentile, milliseconds of the processor.",
                ours,
                theirs,
                peer="parsing a list of 5,000 tables as JSON",
                target=AtMost("ours", 5.0),
            )
        lake.close()


def _questions(authority: Authority) -> Iterator[tuple[str, str, Callable[[], object]]]:
    wide = {"catalogName": "lake", "schemaName": "ns0", "tableName": "t0"}
    columns = [f"c{n}" for n in range(COLUMNS)]
    masked = [{"column": wide | {"columnName": name, "columnType": "varchar"}} for name in columns]
    listed = [
        {"table": {"catalogName": "lake", "schemaName": f"ns{n % 97}", "tableName": f"t{n}"}} for n in range(TABLES)
    ]
    select = {"operation": "SelectFromColumns", "resource": {"table": wide | {"columns": columns}}}
    yield "select", "May 500 columns be selected?", _asking(authority.allow, select)
    masks = {"operation": "GetColumnMask", "filterResources": masked}
    yield "masks", "The masks of 500 columns.", _asking(authority.column_masks, masks)
    tables = {"operation": "FilterTables", "filterResources": listed}
    yield "tables", "Which of 5,000 tables may be known?", _asking(authority.batch, tables)


def _asking(answer: Callable[[Any], object], action: dict[str, Any]) -> Callable[[], object]:
    numbers = itertools.count()
    rest = orjson.dumps(action)

    def ask() -> object:
        context = b'{"identity":{"user":"u0"},"queryId":"20261124_%d"}' % next(numbers)
        given = orjson.loads(b'{"input":{"context":%b,"action":%b}}' % (context, rest))
        found = answer(question(given["input"]))
        return orjson.dumps({"result": found if isinstance(found, list) else bool(found)})

    return ask


def _parsing() -> Callable[[], object]:
    listed = [{"table": {"catalogName": "lake", "schemaName": "ns", "tableName": f"t{n}"}} for n in range(TABLES)]
    body = orjson.dumps(listed)
    return lambda: orjson.loads(body)


def _percentile(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_CALLS):
        start = time.thread_time()
        call()
        times.append((time.thread_time() - start) * 1000)
    return statistics.quantiles(times, n=100)[98]


def _lake(folder: Path) -> Lake:
    settings = Settings(state_dir=folder / "state", lake_dir=folder / "lake")
    settings.lake_dir.mkdir()
    lake = Lake(settings)
    lake.iceberg.create_namespace("ns0")
    lake.iceberg.create_table("ns0.t0", pa.schema([(f"c{n}", pa.string()) for n in range(COLUMNS)]))
    return lake
