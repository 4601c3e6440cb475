"""The Hive metastore, on PostgreSQL: the catalog that Sluice and Trino share."""

from __future__ import annotations

import logging
import subprocess
from typing import Final

import psycopg
from hive_metastore.ThriftHiveMetastore import Client  # PyIceberg brings it
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport, TTransportException

from infra.stack import java
from infra.stack.missing import ServerFailed
from infra.stack.postgres import USER
from infra.stack.process import Launch
from infra.stack.server import Place, Server, jvm_options

_MAIN: Final = "org.apache.hadoop.hive.metastore.HiveMetaStore"
_SCHEMA: Final = "org.apache.hadoop.hive.metastore.tools.schematool.MetastoreSchemaTool"


def uri(place: Place) -> str:
    return f"thrift://{place.address}"


def _prepare(place: Place) -> Launch:
    home, etc = place.artefacts.fetch("hive"), place.configure("hive")
    # Hadoop asks the JVM for what Java 24 took away, so a newer one does not do.
    program = str(java.find("The Hive metastore", 17, 23) / "bin" / "java")
    database = place.others["postgres"]
    environment = {
        "METASTORE_HOME": str(home),
        "HIVE_PORT": str(place.port),
        "HIVE_BIND": place.host,
        "HIVE_WAREHOUSE": f"file://{place.lake_dir}/.warehouse",
        "HIVE_DATABASE_URL": f"jdbc:postgresql://{database.address}/metastore",
        "HIVE_DATABASE_USER": USER,
        "HIVE_DATABASE_PASSWORD": database.password(),
    }
    # Our configuration first; then our jars, since the archive's own are older where both have one.
    classpath = f"{etc}:{home}/lib/*"
    command = [program, *jvm_options(etc / "jvm.config"), "-cp", classpath]
    if not _has_schema(database):
        tool = [*command, _SCHEMA, "-dbType", "postgres", "-initSchema"]
        made = subprocess.run(  # noqa: S603 - our own words
            tool, env=environment, capture_output=True, text=True, check=False, cwd=place.folder
        )
        if made.returncode != 0:
            raise ServerFailed(
                f"The metastore's tables can't be made: {(made.stderr or made.stdout).strip()[-800:]}",
                hint="Mend what it says, then run sluice stack up again.",
            )
    return Launch([*command, _MAIN], environment)


def _has_schema(database: Place) -> bool:
    address = f"host={database.host} port={database.port} user={USER} password={database.password()} dbname=metastore"
    with psycopg.connect(address) as connection:
        found = connection.execute("SELECT to_regclass('\"VERSION\"') IS NOT NULL").fetchone()
    return bool(found and found[0])


def _ready(place: Place) -> bool:
    """Whether it answers a question: it listens before it has looked at its database."""
    # A probe that finds nobody yet is no news: thrift would print each. It raises what happened all the same.
    logging.getLogger(TSocket.__module__).disabled = True
    socket = TSocket(place.host, place.port)
    socket.setTimeout(5000)
    transport = TBufferedTransport(socket)
    try:
        transport.open()
        Client(TBinaryProtocol(transport)).get_all_databases()
    except (TTransportException, OSError):
        return False
    finally:
        transport.close()
    return True


def _settings(place: Place) -> dict[str, str]:
    return {"SLUICE_CATALOG": "hive", "SLUICE_CATALOG_URI": uri(place)}


SERVER: Final = Server(
    name="hive",
    port=9083,
    memory=700,
    needs=("postgres",),
    bundles=("hive",),
    prepare=_prepare,
    ready=_ready,
    settings=_settings,
)
