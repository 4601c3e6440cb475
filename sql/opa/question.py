"""One question of Trino's OPA plugin, read leniently: members that a newer Trino adds are left alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from catalog.resources import RESERVED_NAMESPACES, TABLE_NAME, Resource
from infra.errors import Invalid

CATALOG: Final = "lake"  # the lake's name in SQL, in both engines


class BadQuestion(Invalid):
    code, title = "bad-opa-question", "That is no question of Trino's OPA plugin"


@dataclass(frozen=True, slots=True)
class Question:
    """What Trino wants to know.

    Args:
        operation: Trino's name of it, for example `SelectFromColumns`.
        user: who runs the query, or the identity that an expression is evaluated as.
        query_id: Trino's id of the query; None where it has none yet.
        resource: what it is about, as Trino nests it: `{"table": {…}}`.
        candidates: of a filter, what is to be narrowed down.
    """

    operation: str
    user: str
    query_id: str | None
    resource: Mapping[str, Any] = field(default_factory=dict)
    candidates: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class TableAsked:
    """A table as Trino names it.

    Args:
        catalog, schema, name: in lower case, as Trino resolves them.
        columns: those that the question names.
    """

    catalog: str
    schema: str
    name: str
    columns: tuple[str, ...] = ()

    @property
    def resource(self) -> Resource | None:
        """The lake's table; None for metadata tables, for other catalogs, and for names that no table here has."""
        full = f"{self.schema}.{self.name}"
        if self.catalog != CATALOG or self.schema in RESERVED_NAMESPACES or not TABLE_NAME.fullmatch(full):
            return None
        return Resource("table", full)


def question(given: Mapping[str, Any]) -> Question:
    """A question from its `input`.

    Raises:
        BadQuestion: the members that every question has are missing.
    """
    try:
        context, action = given["context"], given["action"]
        return Question(
            operation=str(action["operation"]),
            user=str(context["identity"]["user"]),
            query_id=context.get("queryId"),
            resource=action.get("resource") or {},
            candidates=action.get("filterResources") or (),
        )
    except (KeyError, TypeError, AttributeError):
        raise BadQuestion(
            "The input has no context.identity.user or no action.operation.",
            hint="Point opa.policy.uri of Trino 476 or newer here; `sluice trino config` writes it.",
        ) from None


def table_asked(table: Mapping[str, Any]) -> TableAsked:
    """A table from its form in a question.

    Raises:
        BadQuestion: it has no name.
    """
    try:
        columns = table.get("columns") or ()
        return TableAsked(
            str(table["catalogName"]).lower(),
            str(table["schemaName"]).lower(),
            str(table["tableName"]).lower(),
            tuple(map(str.lower, columns)),
        )
    except (KeyError, TypeError, AttributeError):
        raise BadQuestion("A table has no catalogName, schemaName or tableName.", hint=_NAMED) from None


_NAMED: Final = "Trino's OPA plugin sends all three."
