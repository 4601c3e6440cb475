"""Everything that Trino's OPA plugin may ask, each decided on purpose: one row an operation. Others are denied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sql import hash_keys
from sql.opa.question import CATALOG, Question, TableAsked, table_asked
from sql.opa.shown import Shown

# Tables of Trino itself that drivers read. Trino narrows their rows down by asking about each name in them.
INFORMATION: Final = frozenset({"columns", "schemata", "tables", "views"})
SESSION_PROPERTIES: Final = frozenset({"query_max_execution_time", "query_max_run_time", "query_max_planning_time"})


_HASH_KEYS: Final = (CATALOG, hash_keys.NAMESPACE, hash_keys.TABLE)


class Asker(Protocol):
    """Who asks, with the policy in force."""

    question: Question
    active: bool  # somebody who may do anything at all
    service: bool  # Sluice itself, which runs queries for others
    evaluating: bool  # nobody: the identity under which Trino evaluates filters and masks

    def is_active(self, user: str) -> bool:
        """Whether a name is a user's who may do anything at all."""

    def knows_table(self, schema: str, name: str) -> bool:
        """Whether the asker may know that a table exists."""

    def knows_schema(self, name: str) -> bool:
        """Whether the asker may know of a table in it."""

    def shown(self, table: TableAsked) -> Shown:
        """What the asker may select of it."""

    def described(self, table: TableAsked) -> frozenset[str]:
        """The columns that the asker may know of."""


Rule = Callable[[Asker, Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation.

    Args:
        name: as Trino writes it.
        meaning: who may, and why.
        rule: decides about one resource.
        filters: whether Trino asks it once for many names, to leave out what the user may not know of.
    """

    name: str
    meaning: str
    rule: Rule
    filters: bool = False


def _nobody(_asker: Asker, _resource: Mapping[str, Any]) -> bool:
    return False


def _active(asker: Asker, _resource: Mapping[str, Any]) -> bool:
    return asker.active or asker.service


def _impersonate(asker: Asker, resource: Mapping[str, Any]) -> bool:
    return asker.service and asker.is_active(str(resource["user"]["user"]))


def _own(asker: Asker, resource: Mapping[str, Any]) -> bool:
    return asker.service or (asker.active and resource["user"]["user"] == asker.question.user)


def _session(asker: Asker, resource: Mapping[str, Any]) -> bool:
    return _active(asker, resource) and resource["systemSessionProperty"]["name"] in SESSION_PROPERTIES


def _catalog(asker: Asker, resource: Mapping[str, Any]) -> bool:
    name = str(resource["catalog"]["name"])
    if asker.service or asker.evaluating:
        return name == ("system" if asker.service else CATALOG)
    return asker.active and name in {CATALOG, "system"}


def _schema(asker: Asker, resource: Mapping[str, Any]) -> bool:
    catalog, name = resource["schema"]["catalogName"], str(resource["schema"]["schemaName"]).lower()
    if not asker.active:
        return False
    if catalog == "system":
        return name in {"jdbc", "information_schema"}
    return catalog == CATALOG and (name == "information_schema" or asker.knows_schema(name))


def _table(asker: Asker, resource: Mapping[str, Any]) -> bool:
    table = resource["table"]
    if not asker.active:
        return False
    if table["catalogName"] == CATALOG and table["schemaName"] != "information_schema":
        return asker.knows_table(table["schemaName"], table["tableName"])
    return of_trino(table_asked(table))


def _column(asker: Asker, resource: Mapping[str, Any]) -> bool:
    table = table_asked(resource["table"])
    if not asker.active:
        return False
    if table.resource is None:
        return of_trino(table)
    return asker.described(table).issuperset(table.columns)


def _select(asker: Asker, resource: Mapping[str, Any]) -> bool:
    table = table_asked(resource["table"])
    if asker.evaluating:  # it can run no query: see ExecuteQuery and ImpersonateUser
        return table.resource is not None or (table.catalog, table.schema, table.name) == _HASH_KEYS
    if asker.service:
        return (table.catalog, table.schema, table.name) == ("system", "runtime", "queries")
    if table.resource is None:  # `t$files`, hidden statistics, other catalogs
        return asker.active and of_trino(table)
    shown = asker.shown(table)
    return shown.readable and shown.columns.keys() >= set(table.columns)


def _function(asker: Asker, resource: Mapping[str, Any]) -> bool:
    function = resource["function"]
    builtin = (function.get("catalogName") or "system", function.get("schemaName") or "builtin")
    return asker.active and builtin == ("system", "builtin")


def of_trino(table: TableAsked) -> bool:
    """Whether it is a table of Trino's own that shows names only, which Trino narrows down for the asker."""
    if table.schema == "information_schema":
        return table.catalog in {CATALOG, "system"} and table.name in INFORMATION
    return (table.catalog, table.schema) == ("system", "jdbc")


_DATA: Final = "Data changes through Sluice's own doors, where it is checked and recorded."
_DEFINITIONS: Final = "Tables and views are made through Sluice, which ties policies to them."
_LOCATIONS: Final = "It shows where files lie."
_RIGHTS: Final = "Rights are given through Sluice."

_ALLOWING: Final = (
    Operation("ImpersonateUser", "Sluice itself, for users who are not disabled.", _impersonate),
    Operation("ExecuteQuery", "Every user who is not disabled.", _active),
    Operation("ViewQueryOwnedBy", "One's own queries; Sluice all of them, to reconcile.", _own),
    Operation("FilterViewQueryOwnedBy", "One's own queries; Sluice all of them.", _own, filters=True),
    Operation("KillQueryOwnedBy", "One's own queries; Sluice all of them.", _own),
    Operation("SetSystemSessionProperty", "Limits of time, nothing that changes what is read.", _session),
    Operation("AccessCatalog", "The lake, and Trino's own catalog for what drivers need.", _catalog),
    Operation("FilterCatalogs", "As AccessCatalog.", _catalog, filters=True),
    Operation("ShowSchemas", "As AccessCatalog; the list is filtered.", _catalog),
    Operation("FilterSchemas", "Those with a table that one may know of.", _schema, filters=True),
    Operation("ShowTables", "As FilterSchemas; the list is filtered.", _schema),
    Operation("FilterTables", "Those that one may know of.", _table, filters=True),
    Operation("ShowColumns", "As FilterTables; the list is filtered.", _table),
    Operation("FilterColumns", "Those that one may read, or know of.", _column, filters=True),
    Operation("SelectFromColumns", "`read` on the table, and each column shown by a grant.", _select),
    Operation("ShowFunctions", "As FilterSchemas.", _schema),
    Operation("FilterFunctions", "Trino's own; the lake's would read around filters.", _function, filters=True),
    Operation("ExecuteFunction", "Trino's own; the lake's (`table_changes`) would read around filters.", _function),
)
_DENIED: Final = {
    "ReadSystemInformation": "It shows the cluster and other people's queries.",
    "WriteSystemInformation": "It changes the cluster.",
    "SetCatalogSessionProperty": "It changes how the lake is read.",
    "CreateCatalog": "Another catalog would be a way around.",
    "DropCatalog": _DEFINITIONS,
    "ExecuteProcedure": "Procedures change tables, and read files that no table names.",
    "ExecuteTableProcedure": _DATA,
    "CreateFunction": "It could stand in for one that masks use.",
    "DropFunction": _DEFINITIONS,
    "ShowCreateFunction": _DEFINITIONS,
    "ShowCreateSchema": _LOCATIONS,
    "ShowCreateTable": _LOCATIONS,
    "CreateViewWithExecuteFunction": _DEFINITIONS,
    "CreateViewWithSelectFromColumns": "A view would show others what its owner may read.",
} | {
    name: meaning
    for meaning, names in {
        _DATA: ("InsertIntoTable", "DeleteFromTable", "TruncateTable", "UpdateTableColumns"),
        _DEFINITIONS: (
            *("CreateSchema", "DropSchema", "RenameSchema", "CreateTable", "DropTable", "RenameTable"),
            *("SetTableProperties", "SetTableComment", "SetViewComment", "SetColumnComment"),
            *("AddColumn", "AlterColumn", "DropColumn", "RenameColumn"),
            *("CreateView", "RenameView", "RefreshView", "DropView"),
            *("CreateMaterializedView", "RefreshMaterializedView", "DropMaterializedView", "RenameMaterializedView"),
            *("SetMaterializedViewProperties", "SetMaterializedViewComment"),
            *("CreateBranch", "DropBranch", "FastForwardBranch", "ShowBranches"),
        ),
        _RIGHTS: (
            *("SetSchemaAuthorization", "SetTableAuthorization", "SetViewAuthorization"),
            *("SetMaterializedViewAuthorization", "SetEntityAuthorization"),
        ),
    }.items()
    for name in names
}

OPERATIONS: Final[dict[str, Operation]] = {
    operation.name: operation
    for operation in (*_ALLOWING, *(Operation(name, f"Nobody. {why}", _nobody) for name, why in _DENIED.items()))
}
