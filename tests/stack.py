"""Real servers for the tests that need them, each started at most once for a whole run.

A setting names one that runs already (`SLUICE_TEST_…`); else the run has a native stack of its own, whose processes
every worker shares. The first test that asks for a server starts it, and the end of the run stops all.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.hive import HiveCatalog
from pyiceberg.exceptions import NoSuchNamespaceError
from sqlalchemy import text
from sqlalchemy.engine import make_url
from trino.dbapi import connect

from infra.db import Database
from infra.errors import Problem
from infra.migrate import migrate
from infra.schema import Base
from infra.settings import Settings
from infra.stack.stack import SERVERS, Stack
from sql import hash_keys

# Server to the setting that names a running one, and the setting of ours that its address is the value of.
RUNNING: Final = {
    "trino": ("SLUICE_TEST_TRINO_URL", "SLUICE_TRINO_URL"),
    "hive": ("SLUICE_TEST_HIVE_URL", "SLUICE_CATALOG_URI"),
    "kafka": ("SLUICE_TEST_KAFKA", "SLUICE_KAFKA"),
    "elasticsearch": ("SLUICE_TEST_ELASTICSEARCH_URL", "SLUICE_ELASTICSEARCH_URL"),
    "postgres": ("SLUICE_TEST_POSTGRES_URL", "SLUICE_DATABASE_URL"),
    "mlflow": ("SLUICE_TEST_MLFLOW_URL", "SLUICE_MLFLOW_URL"),
}
# The kinds of database that Sluice keeps its state in.
KINDS: Final = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
_TURN: Final = 900.0  # seconds that one waits for what others use: a module of tests has it for some minutes
_FOLDER: Final = "SLUICE_TEST_STACK"  # tells the workers where the run's own stack is


def own_stack() -> Stack:
    """The run's own servers."""
    folder = Path(os.environ[_FOLDER])
    return Stack(Settings(state_dir=folder, lake_dir=folder / "lake", stack_dir=folder))


def address(server: str) -> str:
    """Where a server is; starts it where none is named. Skips the test, saying why, where it can't be had."""
    named, ours = RUNNING[server]
    if named in os.environ:
        return os.environ[named]
    stack = own_stack()
    try:
        stack.up([server], ports=dict.fromkeys(SERVERS, 0))
    except Problem as problem:
        pytest.skip(f"{server} can't be had: {problem.detail} {problem.hint}")
    return stack.environment([server])[ours]


@pytest.fixture(scope="session")
def trino_url() -> str:
    """`http://host:port` of a Trino whose catalog `lake` is over the metastore of `hive_url`."""
    return address("trino")


Ask = Callable[[str], Sequence[Any]]


@pytest.fixture
def trino(trino_url: str) -> Iterator[Ask]:
    """Gives the rows of a statement, as Trino's own client gets them from the namespace `raw`."""
    host, _, port = trino_url.removeprefix("http://").partition(":")
    with closing(connect(host=host, port=int(port), user="tests", catalog="lake", schema="raw")) as connection:

        def ask(sql: str) -> Sequence[Any]:
            cursor = connection.cursor()
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()]

        yield ask


@pytest.fixture(scope="session")
def hive_url() -> str:
    """`thrift://host:port` of a Hive metastore."""
    return address("hive")


@pytest.fixture(scope="session")
def kafka_address() -> str:
    """`host:port` of a Kafka broker that creates no topic by itself."""
    return address("kafka")


@pytest.fixture(scope="session")
def elasticsearch_url() -> str:
    """`http://host:port` of an Elasticsearch node."""
    return address("elasticsearch")


@pytest.fixture(scope="session")
def mlflow_url() -> str:
    """`http://host:port` of an MLflow tracking server."""
    return address("mlflow")


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """SQLAlchemy's address of a database on a PostgreSQL server whose user may create others."""
    return address("postgres")


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """SQLAlchemy's address of an empty database of one's own; it is dropped afterwards."""
    with new_database(postgres_url) as url:
        yield url


@contextmanager
def new_database(url: str) -> Iterator[str]:
    """Makes an empty database on a PostgreSQL server, and drops it when the block ends; gives its address."""
    name = f"t_{os.urandom(8).hex()}"
    with _server(url) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        with _server(url) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database of one's own, of each kind that Sluice keeps its state in."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sluice.db'}"
    return str(request.getfixturevalue("postgres_database"))


Fill = Callable[[Database], None]


@pytest.fixture(scope="session")
def filled_databases() -> Iterator[dict[tuple[str, Fill], str]]:
    """Addresses of databases that were filled once."""
    made: dict[tuple[str, Fill], str] = {}
    yield made
    for (kind, _), url in made.items():
        if kind == "postgresql":
            with _server(url) as connection:
                connection.execute(f"DROP DATABASE {make_url(url).database} WITH (FORCE)".encode())


@pytest.fixture(params=KINDS)
def filled_database(
    request: pytest.FixtureRequest, filled_databases: dict[tuple[str, Fill], str], tmp_path: Path
) -> Iterator[Callable[[Fill], Database]]:
    """Gives a database as a function has filled it, on each kind of server; it is called once for many tests."""
    opened: list[Database] = []

    def filled(fill: Fill) -> Database:
        key = (request.param, fill)
        if key not in filled_databases:
            folder = request.getfixturevalue("tmp_path_factory").mktemp("filled")
            filled_databases[key] = url = _empty_database(request, folder)
            with closing(Database(url)) as database:
                migrate(database)
                fill(database)
                if request.param == "postgresql":
                    _remember(database)
        url = filled_databases[key]
        if request.param == "sqlite":
            url = f"sqlite:///{shutil.copy(str(make_url(url).database), tmp_path)}"
        opened.append(Database(url))
        if request.param == "postgresql":
            _restore(opened[-1])
        return opened[-1]

    yield filled
    for database in opened:
        database.close()


def _empty_database(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'sluice.db'}"
    url, name = make_url(request.getfixturevalue("postgres_url")), f"t_{os.urandom(8).hex()}"
    with _server(str(request.getfixturevalue("postgres_url"))) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return url.set(database=name).render_as_string(hide_password=False)


def _remember(database: Database) -> None:
    """Keeps what is in the tables. Rows are put back in no time; dropping a database takes PostgreSQL seconds."""
    with database.engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA first"))
        for table in Base.metadata.sorted_tables:
            connection.execute(text(f"CREATE TABLE first.{table.name} AS TABLE public.{table.name}"))


def _restore(database: Database) -> None:
    with database.engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
        for table in Base.metadata.sorted_tables:
            connection.execute(text(f"INSERT INTO public.{table.name} SELECT * FROM first.{table.name}"))
        connection.execute(text("SELECT setval('casbin_rule_id_seq', (SELECT max(id) + 1 FROM casbin_rule))"))


@contextmanager
def _server(url: str) -> Iterator[psycopg.Connection]:
    """A connection to a PostgreSQL server, in none of the tests' databases."""
    address = make_url(url).set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        yield connection


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that a server of another user can get into: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="sluice-stack-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def only_user(hive_uri: str) -> Iterator[str]:
    """Leaves the metastore's namespaces to one test at a time, empty: names in a metastore are everybody's."""
    catalog = HiveCatalog("lake", uri=hive_uri)
    with _turn(Path(tempfile.gettempdir()) / f"sluice-hive-{urlsplit(hive_uri).port}.lock"):
        empty(catalog)
        yield hive_uri
        empty(catalog)


@contextmanager
def _turn(lock: Path) -> Iterator[None]:
    """Holds a file's lock, and writes into it who does. Fails, naming the one before, where that takes too long."""
    with lock.open("a+") as file:
        deadline = time.monotonic() + _TURN
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    pytest.fail(f"{lock} was not given back within {_TURN:.0f} s by {lock.read_text()}")
                time.sleep(0.2)
        file.truncate(0)
        file.write(f"process {os.getpid()}, {os.environ.get('PYTEST_CURRENT_TEST', 'no test')}")
        file.flush()
        yield


def empty(catalog: Catalog) -> None:
    """Drops every table and namespace that a test may have made."""
    for namespace in ("raw", "curated", "canary", hash_keys.NAMESPACE):
        with suppress(NoSuchNamespaceError):
            for table in catalog.list_tables(namespace):
                catalog.drop_table(table)
            catalog.drop_namespace(namespace)


@pytest.fixture
def unique_name() -> str:
    """A name that nothing else on a shared server has: of a schema, a topic, an index, a database."""
    return f"t_{os.urandom(8).hex()}"


def open_run() -> None:
    """Chooses the folder of the run's own stack; the workers inherit it."""
    if _FOLDER not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="sluice-stack-"))
        folder.chmod(0o755)  # servers that refuse to run as root have their folders in it
        (folder / "lake").mkdir()
        os.environ[_FOLDER] = str(folder)


def close_run() -> None:
    """Stops whatever the run has started."""
    folder = os.environ.pop(_FOLDER, None)
    if folder is not None:
        Stack(Settings(state_dir=Path(folder), stack_dir=Path(folder))).down()
        shutil.rmtree(folder, ignore_errors=True)
