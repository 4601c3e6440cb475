"""The kinds of Iceberg catalog: SQL on one machine, the Hive metastore in production, and REST."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import BadRequestError, NoSuchNamespaceError, NoSuchTableError

from catalog.answering import answering
from infra.errors import InvalidSettings
from infra.settings import Settings

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog


class Tables(Protocol):
    """What the lake asks of a catalog beyond PyIceberg's own interface: quick looks.

    Attributes:
        iceberg: PyIceberg's catalog.
    """

    @property
    def iceberg(self) -> Catalog: ...

    def located(self, namespace: str, name: str) -> str | None:
        """Where the newest metadata file of an Iceberg table is; None where there is no such table."""

    def names(self) -> list[str]:
        """`namespace.name` of every Iceberg table."""

    def close(self) -> None:
        """Lets go of connections."""


def open_tables(settings: Settings) -> Tables:
    """Opens the catalog that the settings name.

    Raises:
        InvalidSettings: it needs an address, and none is set.
        CatalogUnavailable: it does not answer.
    """
    return CATALOGS[settings.catalog](settings)


class SqlTables:
    """PyIceberg's SQL catalog: its tables lie in a database, by default in SQLite beside Sluice's own."""

    def __init__(self, settings: Settings) -> None:
        from pyiceberg.catalog.sql import IcebergTables
        from sqlalchemy import bindparam, select

        settings.state_dir.mkdir(parents=True, exist_ok=True)
        uri = settings.catalog_uri or f"sqlite:///{settings.state_dir.absolute() / 'iceberg.db'}"
        self.iceberg: SqlCatalog = _open_sql(uri, settings)
        ours = IcebergTables.catalog_name == "lake"
        self._names = select(IcebergTables.table_namespace, IcebergTables.table_name).where(ours)
        self._located = select(IcebergTables.metadata_location).where(
            ours,
            IcebergTables.table_namespace == bindparam("namespace"),
            IcebergTables.table_name == bindparam("name"),
        )

    def located(self, namespace: str, name: str) -> str | None:
        with self.iceberg.engine.connect() as connection:
            return connection.scalar(self._located, {"namespace": namespace, "name": name})

    def names(self) -> list[str]:
        with self.iceberg.engine.connect() as connection:
            return [f"{namespace}.{name}" for namespace, name in connection.execute(self._names)]

    def close(self) -> None:
        self.iceberg.engine.dispose()


def _open_sql(uri: str, settings: Settings) -> SqlCatalog:
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    from catalog.database import DatabaseCatalog

    properties = {"warehouse": _warehouse(settings), **settings.catalog_properties, "uri": uri}
    try:
        catalog = DatabaseCatalog("lake", **properties)
    except SQLAlchemyError:  # two processes that start on an empty folder both create the catalog's tables
        catalog = DatabaseCatalog("lake", **properties)
    if catalog.engine.dialect.name == "sqlite":
        with catalog.engine.connect() as connection:
            connection.execute(text("PRAGMA journal_mode=WAL"))  # readers never wait for a commit; it lasts
    return catalog


class HiveTables:
    """The Hive metastore, which Trino looks into as well."""

    def __init__(self, settings: Settings) -> None:
        from catalog.hive import Metastore

        properties = {"warehouse": _warehouse(settings), **settings.catalog_properties, "uri": _address(settings)}
        self.iceberg = Metastore("lake", **properties)

    def located(self, namespace: str, name: str) -> str | None:
        from hive_metastore.ttypes import NoSuchObjectException

        with answering(), self.iceberg._client as client:
            try:
                table = client.get_table(dbname=namespace, tbl_name=name)
            except NoSuchObjectException:
                return None
        # The metastore takes names in any case, and policies do not. A table of another format is none of ours.
        same, parameters = (table.dbName, table.tableName) == (namespace, name), table.parameters
        location = (
            parameters.get("metadata_location") if parameters.get("table_type", "").lower() == "iceberg" else None
        )
        return location if same else None

    def names(self) -> list[str]:
        with answering():
            return _listed(self.iceberg)

    def close(self) -> None:
        """Each question has a connection of its own: there is nothing to let go of."""


class RestTables:
    """A catalog that speaks Iceberg's REST protocol (Polaris, Lakekeeper, Nessie, Unity, …)."""

    def __init__(self, settings: Settings) -> None:
        from catalog.rest import LakeRestCatalog

        properties = {**settings.catalog_properties, "uri": _address(settings)}
        with answering():
            self.iceberg: Catalog = LakeRestCatalog("lake", _warehouse(settings), **properties)

    def located(self, namespace: str, name: str) -> str | None:
        with answering():
            try:
                return self.iceberg.load_table((namespace, name)).metadata_location
            except (NoSuchTableError, BadRequestError):  # also a name that no table can have
                return None

    def names(self) -> list[str]:
        with answering():
            return _listed(self.iceberg)

    def close(self) -> None:
        self.iceberg.close()


CATALOGS: Final[dict[str, Callable[[Settings], Tables]]] = {"sql": SqlTables, "hive": HiveTables, "rest": RestTables}


def _warehouse(settings: Settings) -> str:
    return f"file://{settings.warehouse}"


def _address(settings: Settings) -> str:
    if settings.catalog_uri is None:
        raise InvalidSettings(
            f"The catalog {settings.catalog} needs an address.",
            hint="Set SLUICE_CATALOG_URI, for example to thrift://localhost:9083.",
        )
    return settings.catalog_uri


def _listed(catalog: Catalog) -> list[str]:
    names = []
    for namespace in catalog.list_namespaces():
        try:
            names += [".".join(identifier) for identifier in catalog.list_tables(namespace)]
        except NoSuchNamespaceError:  # dropped meanwhile
            continue
    return names
