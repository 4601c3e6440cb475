"""The Hive metastore as PyIceberg's catalog, made fit for a lake that threads and Trino share."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType

from hive_metastore.ThriftHiveMetastore import Client
from pyiceberg.catalog.hive import HiveCatalog, _HiveClient
from pyiceberg.typedef import Identifier, Properties
from thrift.transport.TTransport import TTransportException

from catalog.answering import answering


class Metastore(HiveCatalog):
    """The metastore of the lake.

    Args:
        name: the catalog's.
        properties: `uri`, `warehouse` and what else PyIceberg knows.
    """

    @staticmethod
    def _create_hive_client(properties: dict[str, str]) -> _HiveClient:
        return _Connections(properties)  # type: ignore[return-value]  # it is only ever entered and left

    def create_namespace(self, namespace: str | Identifier, properties: Properties = {}) -> None:  # noqa: B006
        """Makes a namespace in our own warehouse, not in that of the metastore, which may be another folder."""
        name = self.identifier_to_database(namespace)
        super().create_namespace(namespace, {"location": f"{self.properties['warehouse']}/{name}.db", **properties})

    def load_namespace_properties(self, namespace: str | Identifier) -> Properties:
        """Tells the location as we and Trino write it: the metastore leaves out an empty host."""
        known: Mapping[str, str] = super().load_namespace_properties(namespace)
        location = known.get("location", "")
        if location.startswith("file:/") and not location.startswith("file://"):
            location = f"file://{location.removeprefix('file:')}"
        return {**known, "location": location}


class _Connections:
    """Stands where PyIceberg has one connection: gives each block its own, since threads share the catalog."""

    def __init__(self, properties: dict[str, str]) -> None:
        self._properties = properties
        self._mine = threading.local()

    def __enter__(self) -> Client:
        connection = HiveCatalog._create_hive_client(self._properties)
        with answering():
            client = connection.__enter__()
        self._open().append(connection)
        return client

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with answering():
            self._open().pop().__exit__(kind, error, trace)
            if isinstance(error, TTransportException):  # the metastore went away amid a question
                raise error

    def _open(self) -> list[_HiveClient]:
        known: list[_HiveClient] = self._mine.__dict__.setdefault("open", [])
        return known
