"""What Trino is told: each answer's 99th percentile, at 10,000 rules, 500 columns and 5,000 tables.

Once in this process, in time of the processor, so that neighbours on the machine don't count; once over HTTP from a
server of its own, in time on the wall. Every question has a query id of its own, as Trino's have, and is asked as JSON:
parsing and writing are in the time.
"""

from __future__ import annotations

import http.client
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from api.initialise import initialise
from api.long_route import Repeated
from api.server import rare_collections
from bench.bench_policy_decision import fill, policy_of
from bench.lake import serving
from bench.measure import AtMost, Result, judge
from catalog.lake import Lake
from infra.db import Database
from infra.keys import load_or_create
from infra.settings import Settings
from policies.index import PolicyIndex
from sql.opa.authority import Authority
from sql.opa.question import question

RULES, COLUMNS, TABLES = 10_000, 500, 5_000
_CALLS = 200  # of each round; the slowest two make its 99th percentile
_WIDE = {"catalogName": "lake", "schemaName": "ns0", "tableName": "t0"}
_NAMES = [f"c{n}" for n in range(COLUMNS)]
_MASKED = [{"column": _WIDE | {"columnName": name, "columnType": "varchar"}} for name in _NAMES]
_LISTED = [{"table": {"catalogName": "lake", "schemaName": f"ns{n % 97}", "tableName": f"t{n}"}} for n in range(TABLES)]
# By name: what is asked, of which address, and what Trino sends.
_QUESTIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "select": (
        "May 500 columns be selected?",
        "allow",
        {"operation": "SelectFromColumns", "resource": {"table": _WIDE | {"columns": _NAMES}}},
    ),
    "masks": (
        "The masks of 500 columns.",
        "column-masks",
        {"operation": "GetColumnMask", "filterResources": _MASKED},
    ),
    "tables": (
        "Which of 5,000 tables may be known?",
        "batch",
        {"operation": "FilterTables", "filterResources": _LISTED},
    ),
}


class _Policies:
    def __init__(self, index: PolicyIndex) -> None:
        self._index = index

    def current(self) -> PolicyIndex:
        return self._index


def results(rounds: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(state_dir=Path(folder) / "state", lake_dir=Path(folder) / "lake")
        issued = initialise(settings)
        if issued is None:
            raise RuntimeError("a fresh folder is needed")
        with closing(Lake(settings)) as lake:
            lake.iceberg.create_namespace("ns0")
            lake.iceberg.create_table("ns0.t0", pa.schema([(name, pa.string()) for name in _NAMES]))
            authority = Authority(_Policies(policy_of(RULES)), lake, "sluice")
            with rare_collections():
                for name, (what, address, action) in _QUESTIONS.items():
                    answer = {
                        "allow": lambda asked: authority.allow(asked).allowed,
                        "column-masks": authority.column_masks,
                        "batch": authority.batch,
                    }[address]
                    yield _judged(
                        f"opa-{name}",
                        f"{what} 99th percentile, milliseconds of the processor.",
                        _asking(answer, action),
                        time.thread_time,
                        rounds,
                    )
        with closing(Database(settings.database)) as db:
            fill(db, RULES)
        secret = load_or_create(settings.secret).opa.hex()
        with serving(settings, issued.text) as (client, _), rare_collections():
            for name, (what, address, action) in _QUESTIONS.items():
                yield _judged(
                    f"opa-{name}-http",
                    f"{what} 99th percentile over HTTP, milliseconds.",
                    _posting(client.connection, f"/opa/{address}?secret={secret}", action),
                    time.perf_counter,
                    rounds,
                )


def _judged(id: str, what: str, ask: Callable[[], object], clock: Callable[[], float], rounds: int) -> Result:
    ask()  # what a table is like is worked out once for each version of the policy
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(_percentile(ask, clock))
        theirs.append(_percentile(_parsing, clock))
    peer = "parsing a list of 5,000 tables as JSON"
    return judge(id, what, ours, theirs, peer=peer, target=AtMost("ours", 5.0))


def _bodies(action: dict[str, Any]) -> Iterator[bytes]:
    rest = orjson.dumps(action)
    for number in itertools.count():
        context = b'{"identity":{"user":"u0"},"queryId":"20261124_%d"}' % number
        yield b'{"input":{"context":%b,"action":%b}}' % (context, rest)


def _asking(answer: Callable[[Any], object], action: dict[str, Any]) -> Callable[[], object]:
    bodies, loads = _bodies(action), Repeated()
    return lambda: orjson.dumps({"result": answer(question(loads(next(bodies))["input"]))})


def _posting(connection: http.client.HTTPConnection, path: str, action: dict[str, Any]) -> Callable[[], object]:
    bodies = _bodies(action)

    def ask() -> object:
        connection.request("POST", path, next(bodies), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {body[:300]!r}")
        return body

    return ask


_BODY = orjson.dumps(_LISTED)


def _parsing() -> object:
    return orjson.loads(_BODY)


def _percentile(call: Callable[[], object], clock: Callable[[], float]) -> float:
    times = []
    for _ in range(_CALLS):
        start = clock()
        call()
        times.append((clock() - start) * 1000)
    return statistics.quantiles(times, n=100)[98]
