"""The embedded engine: DuckDB reads the files that PyIceberg's metadata names."""

from __future__ import annotations

import hashlib
import heapq
import hmac
import threading
import time
from collections.abc import Iterator
from itertools import count
from typing import Any, Final
from weakref import WeakKeyDictionary

import duckdb
import pyarrow as pa
from duckdb._seam import submit
from sqlglot import exp

from catalog.lake import Lake
from catalog.lru import Lru
from catalog.scan import ScanPlan
from infra.keys import Keys
from infra.settings import Settings
from sql.engines import RanQuery, Run
from sql.engines.duckdb_errors import problem
from sql.engines.duckdb_fence import fence
from sql.engines.duckdb_layers import without_layer
from sql.engines.duckdb_lower import lower
from sql.engines.duckdb_scan import file_parameters, read_in_place, scan, signature
from sql.governed import Governed, relation_key
from sql.rules.typed import typed

_BATCH: Final = 65_536
_LOWERED: Final = 8  # forms of one query: files of other schemas, one file or several, deletes
_BLOCK: Final = 64  # HMAC-SHA256's block, in bytes


class DuckDb:
    """Runs Governed with DuckDB, in this process.

    Args:
        settings: memory cap, threads, timeout.
        lake: plans the scans.
        keys: the key of keyed hashes, given to DuckDB as a parameter, never as text.
    """

    positions = True
    enforces = False
    withheld: frozenset[str] = frozenset()

    def __init__(self, settings: Settings, lake: Lake, keys: Keys) -> None:
        self._lake, self._keys, self._timeout = lake, keys, settings.query_timeout
        # As long as somebody keeps the query; whoever asked once only leaves nothing here.
        self._lowered: WeakKeyDictionary[Governed, Lru[tuple[object, ...], str]] = WeakKeyDictionary()
        self._watch = _Watch()
        state = settings.state_dir.absolute()
        spill = state / "spill"
        spill.mkdir(parents=True, exist_ok=True)
        self._connection = duckdb.connect(":memory:")
        folders = [str(settings.lake_dir.resolve()), str(state.resolve() / "cache")]
        # The allow-lists of sql/rules are the boundary; these settings are the second line behind it.
        options: dict[str, str | int | bool | list[str]] = {
            "memory_limit": settings.engine_memory,
            "threads": settings.engine_threads,
            "temp_directory": str(spill),
            "TimeZone": "UTC",
            "parquet_metadata_cache": True,
            # It fails on a filter by the row number in a file under an order by a constant: page 2 of a single file.
            "disabled_optimizers": "late_materialization",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "allowed_directories": folders,
            "enable_external_access": False,
            "lock_configuration": True,
        }
        for name, value in options.items():
            self._connection.execute(f"SET {name} = {_literal(value)}")

    def execute(self, run: Run) -> DuckDbAnswer:
        """Starts a query; see `sql.engines.Engine`."""
        governed = run.governed
        plans = {
            key: self._lake.plan(relation.relation, run.bounds.get(key, ()))
            for key, relation in governed.relations.items()
        }
        if run.files is not None:
            plans = {key: _only(plan, run.files) for key, plan in plans.items()}
        shape = tuple(signature(plan) for plan in plans.values())
        known = self._lowered.setdefault(governed, Lru(_LOWERED))
        sql = known.get(shape, lambda: _lower(governed, list(plans.values())))
        parameters: dict[str, Any] = dict(run.parameters)
        for place, plan in enumerate(plans.values()):
            parameters |= file_parameters(plan, f"r{place}")
        if "$mask_" in sql:
            parameters |= _hash_parameters(self._keys.masks, run.salt)
        parameters = {name: value for name, value in parameters.items() if f"${name}" in sql}
        cursor = self._connection.cursor()
        for place, listed in enumerate(governed.lists.values()):
            cursor.register(f"list_{place}", listed)  # this cursor's alone
        timer = self._watch.start(cursor, min(self._timeout, run.seconds or self._timeout))
        try:
            # What a relation of DuckDB's runs by: the public ways to Arrow plan a statement twice.
            started = submit(cursor, sql, parameters or None, "stream" if run.stream else "arrow", _BATCH)
            reader = started.arrow_reader()
        except duckdb.Error as error:
            timer.stop()
            cursor.close()
            raise problem(error, timed_out=timer.fired) from error
        return DuckDbAnswer(cursor, reader, timer)

    def remembered(self) -> list[RanQuery]:
        """None: nobody but Sluice reaches it."""
        return []

    def close(self) -> None:
        """Frees the engine's memory and threads."""
        self._watch.close()
        self._connection.close()


class DuckDbAnswer:
    """A running query of DuckDB; see `sql.engines.Answer`."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, reader: pa.RecordBatchReader, timer: _Timer) -> None:
        self._cursor, self._reader, self._timer = cursor, reader, timer
        self.schema: pa.Schema = reader.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._reader
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise problem(error, timed_out=self._timer.fired) from None

    def stop(self) -> None:
        """Makes the query fail soon."""
        self._cursor.interrupt()

    def close(self) -> None:
        """Stops the query, if it still runs."""
        self._timer.stop()
        self.stop()
        self._cursor.close()


def _only(plan: ScanPlan, ordinals: frozenset[int]) -> ScanPlan:
    return ScanPlan(tuple(file for file in plan.files if file.ordinal in ordinals), plan.total_files)


def _lower(governed: Governed, plans: list[ScanPlan]) -> str:
    tree = lower(fence(typed(governed.tree.copy(), governed.relations), governed))
    places = {key: place for place, key in enumerate(governed.relations)}
    lists = {key: f"list_{place}" for place, key in enumerate(governed.lists)}
    for table in list(tree.find_all(exp.Table)):
        if not table.args.get("db"):
            continue
        key = relation_key(table)
        if key in lists:
            table.set("this", exp.to_identifier(lists[key]))
            table.set("db", None)
            table.set("catalog", None)
            continue
        place = places[key]
        relation = governed.relations[key].relation
        select = table.find_ancestor(exp.Select)
        if select is None or not read_in_place(select, table, relation, plans[place], f"r{place}"):
            scanned = scan(relation, plans[place], f"r{place}", positions=governed.positions)
            table.replace(exp.alias_(exp.Subquery(this=scanned), "s", table=True))
    without_layer(tree)
    for call in list(tree.find_all(exp.Anonymous)):
        if call.name == "sluice_keyed_hash":
            call.replace(_keyed_hash(*call.expressions))
    return tree.transform(_placeholder).sql(dialect="duckdb", comments=False)


def _placeholder(node: exp.Expr) -> exp.Expr:
    return exp.Parameter(this=exp.var(node.name)) if isinstance(node, exp.Placeholder) else node


def _keyed_hash(value: exp.Expr, reach: exp.Expr) -> exp.Expr:
    """HMAC-SHA256 (RFC 2104) out of SHA-256, in lower-case hex: DuckDB has no HMAC of its own."""
    inner, outer = (
        exp.Parameter(this=exp.var(f"mask_{side}_{'global' if reach.name == 'global' else 'local'}"))
        for side in ("inner", "outer")
    )
    digest = _call("sha256", exp.DPipe(this=inner, expression=_call("encode", value)))
    return _call("sha256", exp.DPipe(this=outer, expression=_call("unhex", digest)))


def _call(name: str, *arguments: exp.Expr) -> exp.Anonymous:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _hash_parameters(key: bytes, salt: bytes) -> dict[str, bytes]:
    local = hmac.digest(key, b"query-local" + salt, hashlib.sha256)
    return {
        f"mask_{side}_{reach}": bytes(byte ^ pad for byte in of.ljust(_BLOCK, b"\0"))
        for reach, of in (("global", key), ("local", local))
        for side, pad in (("inner", 0x36), ("outer", 0x5C))
    }


def _literal(value: str | int | bool | list[str]) -> str:
    if isinstance(value, list):
        return exp.Array(expressions=[exp.Literal.string(item) for item in value]).sql(dialect="duckdb")
    return exp.convert(value).sql(dialect="duckdb")


class _Timer:
    """One query's time limit."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.cursor: duckdb.DuckDBPyConnection | None = cursor
        self.fired = False

    def stop(self) -> None:
        self.cursor = None


class _Watch:
    """Interrupts queries whose time is over: one thread for all of them."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _Timer]] = []
        self._changed = threading.Condition()
        self._numbers = count()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="query-timeouts", daemon=True)
        self._thread.start()

    def start(self, cursor: duckdb.DuckDBPyConnection, seconds: float) -> _Timer:
        timer = _Timer(cursor)
        with self._changed:
            heapq.heappush(self._heap, (time.monotonic() + seconds, next(self._numbers), timer))
            if self._heap[0][2] is timer:
                self._changed.notify()
        return timer

    def close(self) -> None:
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        with self._changed:
            while self._open:
                while self._heap and self._heap[0][2].cursor is None:
                    heapq.heappop(self._heap)
                if not self._heap:
                    self._changed.wait()
                    continue
                due, _, timer = self._heap[0]
                wait = due - time.monotonic()
                if wait > 0:
                    self._changed.wait(wait)
                    continue
                heapq.heappop(self._heap)
                cursor = timer.cursor
                if cursor is not None:
                    timer.fired = True
                    cursor.interrupt()
