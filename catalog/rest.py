"""A REST catalog as PyIceberg's, made fit for a lake whose files lie in one folder."""

from __future__ import annotations

from typing import Any

from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.table import CreateTableTransaction, Table
from pyiceberg.typedef import Identifier


class LakeRestCatalog(RestCatalog):
    """Makes tables inside the lake, not where the server puts them: files elsewhere would never be read.

    Args:
        name: the catalog's.
        lake_location: the folder of the lake's own tables, as `file://…`.
        properties: `uri` and what else PyIceberg knows.
    """

    def __init__(self, name: str, lake_location: str, **properties: str) -> None:
        super().__init__(name, **properties)
        self._lake_location = lake_location

    def create_table(
        self, identifier: str | Identifier, schema: Any, location: str | None = None, *more: Any, **named: Any
    ) -> Table:
        location = location or self._inside(identifier)
        made: Table = super().create_table(identifier, schema, location, *more, **named)
        return made

    def create_table_transaction(
        self, identifier: str | Identifier, schema: Any, location: str | None = None, *more: Any, **named: Any
    ) -> CreateTableTransaction:
        location = location or self._inside(identifier)
        begun: CreateTableTransaction = super().create_table_transaction(identifier, schema, location, *more, **named)
        return begun

    def _inside(self, identifier: str | Identifier) -> str:
        *namespace, table = self.identifier_to_tuple(identifier)
        return f"{self._lake_location}/{'.'.join(namespace)}.db/{table}"
