"""A Trino that asks a Sluice, over one Hive metastore: started for a module, with tables, people and grants."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import trino
from starlette.testclient import TestClient

from api.app import create_app
from api.demo.people import MASKS, ROW_FILTER
from api.initialise import initialise
from api.installation import Installation, open_installation
from api.server import make_server
from infra.settings import Settings
from infra.stack import trino as trino_server
from infra.stack.artefacts import Artefacts
from infra.stack.process import ServerProcess
from infra.stack.server import Place, free_port
from pipeline.source import Source
from pipeline.transactions import SCHEMA as TRANSACTIONS
from policies.people import create_user
from policies.principal import Principal
from sql import hash_keys
from sql.access import Access
from sql.door import Door
from sql.engines.trino import Trino
from sql.engines.trino_config import trino_config
from tests.stack import only_user

USERS = ("admin", "alice", "carol", "dave")
SCHEMA = pa.schema(
    [
        ("transaction_id", pa.string()),
        ("event_time", pa.timestamp("us", "UTC")),
        ("day", pa.date32()),
        ("user_name", pa.string()),
        ("email", pa.string()),
        ("quantity", pa.int32()),
        ("amount", pa.decimal128(12, 2)),
        ("weight", pa.float64()),
        ("country", pa.string()),
        ("status", pa.string()),
        ("rating", pa.int64()),
        ("gift", pa.bool_()),
    ]
)
# Names that try out every mask and every quoting.
NAMES = ("Zoë Ångström", "O'Neil", 'say "hi"', "李小龍", "a", "", "bob_%\\x", "Ana-María (2)", "x" * 40, None)
GRANTS: tuple[dict[str, Any], ...] = (
    {
        "principal": "user:alice",
        "row_filter": "country = 'FR'",
        "masks": {"email": "mask-alphanum", "user_name": "show-last-4", "event_time": "truncate-to-month"},
    },
    {
        "principal": "user:carol",
        "columns": ["transaction_id", "user_name", "email", "amount", "country", "rating", "day", "weight"],
        "row_filter": "amount > 100 OR rating IS NULL",
        "masks": {"email": "mask-to-fixed-value", "day": "truncate-to-year", "weight": "mask-to-fixed-value"},
    },
    {
        "principal": "user:carol",
        "columns": ["transaction_id", "user_name", "email", "amount", "status", "quantity"],
        "row_filter": "country IN ('FR', 'DE') AND quantity < 3",
        "masks": {"email": "show-first-4", "user_name": "replace-with-null"},
    },
    {
        "principal": "user:dave",
        "columns": ["transaction_id", "email", "user_name", "amount", "quantity", "status"],
        "row_filter": "status = 'completed'",
        "masks": {"email": "sha-256-global", "user_name": "mask-alphanum"},
    },
)


def rows(count: int) -> list[dict[str, Any]]:
    """Rows with nulls, odd names and, in every tenth, one that is there twice."""
    start = datetime(2026, 1, 5, 3, 4, 5, 678901, tzinfo=UTC)
    made = [
        {
            "transaction_id": f"tx-{n:04}",
            "event_time": start + timedelta(hours=7 * n, microseconds=n),
            "day": date(2025, 11, 1) + timedelta(days=n),
            "user_name": NAMES[n % len(NAMES)],
            "email": None if n % 13 == 0 else f"user.{n % 17}@example{n % 3}.org",
            "quantity": n % 5,
            "amount": Decimal(n * 37 % 1000) / 4 * (-1 if n % 11 == 0 else 1),
            "weight": None if n % 9 == 0 else n / 8,
            "country": ("FR", "DE", "IT", None)[n % 4],
            "status": ("completed", "pending", "failed")[n % 3],
            "rating": None if n % 6 == 0 else n % 5 + 1,
            "gift": (True, False, None)[n % 3],
        }
        for n in range(count)
    ]
    return made + made[::10]


class Silent:
    """A trail that keeps nothing."""

    def decided(self, decision: object) -> None: ...

    def reading(self, *readings: object) -> None: ...

    def changing(self) -> None: ...

    def returned(self, rows: int) -> None: ...


def access(user: str, request_id: str = "test") -> Access:
    return Access(Principal(user, authenticated_by="test"), "sql", request_id, Silent())


@dataclass(frozen=True)
class Governed:
    """What a test asks.

    Args:
        installation: of the Sluice that Trino asks; its own engine is the embedded one.
        url: where that Sluice listens.
        port: of the governed Trino.
        process: of the governed Trino.
        doors: by the way: `duckdb`, `opa` (the governed Trino), `rewrite` (another Trino, that asks nobody).
    """

    installation: Installation
    url: str
    port: int
    process: GovernedProcess
    doors: Mapping[str, Door]

    def direct(self, user: str, sql: str, *, port: int | None = None) -> list[list[Any]]:
        """Rows as Trino's own client gets them."""
        cursor = self.connection(user, port=port).cursor()
        cursor.execute(sql)
        found: list[list[Any]] = cursor.fetchall()
        return found

    def connection(self, user: str, *, port: int | None = None, **more: Any) -> Any:
        return trino.dbapi.connect(
            host="127.0.0.1", port=port or self.port, user=user, catalog="lake", schema="raw", timezone="UTC", **more
        )


class GovernedProcess:
    """The governed Trino, which tests stop and start again."""

    def __init__(self, settings: Settings, installation: Installation, folder: Path, hive: str, port: int) -> None:
        hive_address = urlsplit(hive)
        programs = Artefacts(settings.artefacts)
        host, hive_port = hive_address.hostname or "", hive_address.port or 0
        metastore = Place(folder / "hive", host, hive_port, {}, programs, settings.lake_dir)
        place = Place(folder, "127.0.0.1", port, {"hive": metastore}, programs, settings.lake_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self._process, self._place = ServerProcess(folder), place
        launch = trino_server.SERVER.prepare(place)
        for name, text in trino_config(settings, installation.keys).items():
            (folder / "etc" / name).parent.mkdir(exist_ok=True)
            if name != "config.properties":
                (folder / "etc" / name).write_text(text)
        # It lives for minutes, on two cores: what the second compiler takes it never gives back.
        options = ["-Xmx1500M", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        main = len(launch.command) - 1
        self._launch = replace(launch, command=[*launch.command[: main - 2], *options, *launch.command[main - 2 :]])

    def start(self) -> None:
        self._process.start(self._launch)
        deadline = time.monotonic() + 600
        while not trino_server.SERVER.ready(self._place):
            assert self._process.pid() is not None, self._process.last_words()
            assert time.monotonic() < deadline, self._process.last_words()
            time.sleep(0.3)

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        self._process.stop()


@contextmanager
def governed(folder: Path, hive_url: str, plain_trino: str) -> Iterator[Governed]:
    """Starts a Sluice and the Trino that asks it; both see `raw.t`, some days of the demo's
    transactions, and tables of TPC-H at the scale of 0.1, which Trino wrote.

    Args:
        folder: for their state and the lake.
        hive_url: the metastore.
        plain_trino: a Trino over the same metastore that asks nobody.
    """
    with only_user(hive_url):
        port, trino_port = free_port("127.0.0.1"), free_port("127.0.0.1")
        common = {
            "state_dir": folder / "state",
            "lake_dir": folder / "lake",
            "catalog": "hive",
            "catalog_uri": hive_url,
        }
        settings = Settings(**common, port=port, canaries=False)
        issued = initialise(settings)
        assert issued is not None
        installation = open_installation(settings)
        hash_keys.publish(installation.lake, installation.keys)
        _fill(installation, plain_trino)
        _grant(installation, TestClient(create_app(installation)), issued.text)
        server = make_server(installation, host="127.0.0.1", port=port)
        serving = threading.Thread(target=server.run)
        serving.start()
        process = GovernedProcess(settings, installation, folder / "trino", hive_url, trino_port)
        engines = {
            "opa": Trino(Settings(**common, trino_url=f"http://127.0.0.1:{trino_port}")),
            "rewrite": Trino(Settings(**common, trino_url=plain_trino, trino_enforcement="rewrite")),
        }
        lake, policies, keys = installation.lake, installation.policies, installation.keys
        doors = {"duckdb": installation.door} | {
            way: Door(lake, policies, engine, keys, embedded=installation.embedded) for way, engine in engines.items()
        }
        try:
            process.start()
            yield Governed(installation, f"http://127.0.0.1:{port}", trino_port, process, doors)
        finally:
            process.stop()
            for engine in engines.values():
                engine.close()
            server.should_exit = True
            serving.join()
            installation.close()


def _fill(installation: Installation, plain_trino: str) -> None:
    lake = installation.lake.iceberg
    for namespace in ("raw", "curated"):
        lake.create_namespace(namespace)
    table = lake.create_table("raw.t", SCHEMA)
    made = rows(120)
    for part in (made[:70], made[70:]):
        table.append(pa.Table.from_pylist(part, SCHEMA))
    shop = lake.create_table("curated.transactions", TRANSACTIONS)
    for day in Source(corrupted=0.05).history(datetime(2026, 11, 24, tzinfo=UTC), days=2, per_day=120):
        shop.append(day.table())
    address = urlsplit(plain_trino)
    connection = trino.dbapi.connect(host=address.hostname, port=address.port, user="test", catalog="lake")
    for name in ("orders", "customer", "lineitem"):
        cursor = connection.cursor()
        cursor.execute(f'CREATE TABLE lake.curated.{name} AS SELECT * FROM tpch."sf0.1".{name}')
        cursor.fetchall()


def _grant(installation: Installation, client: TestClient, token: str) -> None:
    with installation.db.writing() as session:
        for name in ("alice", "bob", "carol", "dave"):
            create_user(session, name, now=datetime.now(UTC), password="correct horse battery staple")
    grants = [{"resource": "table:raw.t", **grant} for grant in GRANTS]
    for user, table, condition, masks in (
        # The demo's analyst, and two of our own.
        ("alice", "curated.transactions", ROW_FILTER, MASKS),
        ("carol", "curated.transactions", "amount > 20 AND status <> 'failed'", {"email": "show-first-4"}),
        ("dave", "curated.transactions", "customer_rating IS NULL OR device = 'mobile'", {"user_name": "show-last-4"}),
        ("alice", "curated.orders", "orderstatus = 'F'", {"clerk": "show-last-4", "comment": "replace-with-null"}),
        ("carol", "curated.orders", "totalprice > 150000", {"orderdate": "truncate-to-month"}),
        ("dave", "curated.orders", "custkey < 9000 AND NOT orderpriority LIKE '1%'", {"comment": "sha-256-global"}),
        ("alice", "curated.lineitem", "shipmode <> 'AIR'", {"comment": "replace-with-null"}),
        ("carol", "curated.lineitem", "quantity < 40", {"shipdate": "truncate-to-year"}),
        *((user, "curated.customer", None, {"phone": "mask-alphanum"}) for user in ("alice", "carol", "dave")),
    ):
        about = {"principal": f"user:{user}", "resource": f"table:{table}", "masks": masks}
        grants.append(about | ({"row_filter": condition} if condition else {}))
    for grant in grants:
        body = {"actions": ["read", "export"], **grant}
        answer = client.post("/v1/grants", json=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 201, answer.text
