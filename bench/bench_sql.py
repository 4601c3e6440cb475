"""The SQL door: what parsing, authorising and rewriting take, and long answers beside DuckDB's own."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from api.installation import open_installation
from api.server import rare_collections
from bench.lake import make_lake, serving
from bench.measure import ROUNDS, AtMost, Result, compare, judge
from catalog.resources import Resource
from policies.principal import Principal
from sql.access import Access, Reading
from sql.query import SqlQuestion

_SHORT = "SELECT transaction_id, amount FROM raw.transactions WHERE country = 'FR' AND amount > {n} LIMIT 10"
_GROUPS = (
    "SELECT country, payment_method, count(*) AS n, sum(amount) AS spent FROM raw.transactions "
    "WHERE amount > {n} AND status = 'completed' GROUP BY country, payment_method ORDER BY spent DESC LIMIT 10"
)
_LONG = "SELECT * FROM {source} WHERE transaction_id < 't000100000'"
_ROUND = 100  # questions


class _Silent:
    def decided(self, decision: object) -> None: ...
    def reading(self, *readings: Reading) -> None: ...
    def changing(self) -> None: ...
    def returned(self, rows: int) -> None: ...


def results(rounds: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        settings, token = make_lake(Path(folder))
        installation = open_installation(settings)
        try:
            numbers = itertools.count(1)

            def rewrite(text: str) -> float:
                """Milliseconds of parsing, authorising and rewriting; looks into the catalog are not counted."""
                access = Access(Principal("admin", ("admin",)), "sql", "bench", _Silent())
                installation.door._governed(access, SqlQuestion(text))
                return sum(spent for stage, spent in access.timings.items() if stage != "catalog")

            columns = installation.lake.relation(Resource.table("raw.transactions")).columns
            schema = MappingSchema({"raw": {"transactions": {column.name: column.type for column in columns}}})

            def alone(text: str) -> float:
                """Milliseconds that sqlglot takes to read a question, to trace its columns and to write it."""
                start = time.perf_counter()
                tree = sqlglot.parse_one(text, dialect="trino")
                qualify(tree, schema=schema, dialect="trino").sql(dialect="trino")
                return (time.perf_counter() - start) * 1000

            with rare_collections():  # as in the server
                for name, text in (("short", _SHORT), ("groups", _GROUPS)):
                    yield _percentiles(
                        f"sql-cold-{name}", rewrite, lambda text=text: text.format(n=next(numbers)), 1.0, rounds
                    )
                    yield _percentiles(f"sql-warm-{name}", rewrite, lambda text=text: text.format(n=0), 0.05, rounds)
                    yield _beside(
                        f"sql-cold-{name}-floor", rewrite, alone, lambda text=text: text.format(n=next(numbers))
                    )
        finally:
            installation.close()
        direct = duckdb.connect()
        direct.execute(f"SET threads = {settings.engine_threads}")
        files = f"read_parquet('{settings.lake_dir}/transactions/*.parquet')"
        with serving(settings, token) as (client, _):
            ours, theirs = _LONG.format(source="raw.transactions"), _LONG.format(source=files)
            yield compare(
                "sql-100000-json",
                "100,000 rows as JSON through POST /v1/sql, governed and audited, milliseconds.",
                lambda: client.query(ours, "application/json"),
                lambda: _json(direct, theirs),
                peer="DuckDB in process, to_json of each row of the same files",
                target=AtMost("ratio", 1.3),
                rounds=rounds,
            )
            yield compare(
                "sql-100000-arrow",
                "100,000 rows as an Arrow stream through POST /v1/sql, governed and audited, milliseconds.",
                lambda: client.query(ours, "application/vnd.apache.arrow.stream"),
                lambda: _arrow(direct, theirs),
                peer="DuckDB in process to the same Arrow stream in memory",
                target=AtMost("ratio", 1.2),
                rounds=rounds,
            )


def _percentiles(id: str, measure: Callable[[str], float], text: Callable[[], str], most: float, rounds: int) -> Result:
    """One line about many single questions: the median counts, the 95th percentile is told beside it."""
    measure(text())
    taken = sorted(measure(text()) for _ in range(rounds * _ROUND))
    median, slow = statistics.median(taken), taken[int(len(taken) * 0.95)]
    kind = "never asked before" if "cold" in id else "asked before"
    return Result(
        id=id,
        what=f"Parse, authorise and rewrite a question {kind}, milliseconds; ours is the median, theirs the 95th "
        f"percentile of {len(taken)}.",
        ours=float(f"{median:.4g}"),
        theirs=float(f"{slow:.4g}"),
        peer="ourselves, the 95th percentile",
        ratio=float(f"{median / slow:.4g}"),
        target=str(AtMost("ours", most)),
        holds=median <= most,
        spread=float(f"{(taken[len(taken) * 3 // 4] - taken[len(taken) // 4]) / 2 / median:.4g}"),
    )


def _beside(id: str, ours: Callable[[str], float], theirs: Callable[[str], float], text: Callable[[], str]) -> Result:
    """Questions never asked before, beside what the parser alone takes for the like."""
    rounds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for side, measure in zip(rounds, (ours, theirs), strict=True):
            side.append(statistics.median(measure(text()) for _ in range(_ROUND)))
    return judge(
        id,
        "Parse, authorise and rewrite a question never asked before, milliseconds.",
        *rounds,
        peer="sqlglot alone: parse, qualify and generate the same text, nothing decided and nothing checked",
        target=AtMost("ratio", 3),
    )


def _json(direct: duckdb.DuckDBPyConnection, question: str) -> int:
    lines = direct.execute(f"SELECT string_agg(to_json(t), chr(10)) FROM ({question}) AS t").fetchall()
    return len(lines[0][0].encode())


def _arrow(direct: duckdb.DuckDBPyConnection, question: str) -> int:
    reader = direct.sql(question).to_arrow_reader(65_536)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    return sink.getvalue().size
