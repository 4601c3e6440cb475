"""Text becomes one query in Trino's dialect, or a problem that says where it went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError, ParseError, SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope
from sqlglot.schema import MappingSchema

from catalog.arrow_types import lake_type, trino_type
from catalog.resources import Resource, ResourceNotFound
from infra.errors import Invalid
from sql.governed import GovernedRelation, RelationKey
from sql.query import Version
from sql.result import OutputColumn
from sql.rules.allowed import check_allowed
from sql.values import Value, parse_value

_MAX_BYTES = 65_536
_VERSION_HINT = "Write FOR VERSION AS OF 123 or FOR TIMESTAMP AS OF TIMESTAMP '2026-11-24 09:30:00 UTC'."


class BadSql(Invalid):
    code, title = "bad-sql", "The SQL can't be understood"


class MissingParameter(Invalid):
    code, title = "missing-parameter", "A placeholder has no value"


class Parsed:
    """One query, its names not yet looked up. Made anew for each question, since rewriting changes its tree.

    Args:
        tree: the query.
    """

    def __init__(self, tree: exp.Query) -> None:
        self.tree = tree
        self._tables = [
            source
            for scope in traverse_scope(tree)
            for node, source in scope.selected_sources.values()
            if isinstance(source, exp.Table) and node is not None
        ]

    def tables(self) -> Iterator[tuple[exp.Table, Resource]]:
        """The tables that are read, told from common table expressions by scope."""
        for table in self._tables:
            yield table, _resource(table)

    def version_of(self, table: exp.Table, default: Version) -> Version:
        """The version that `FOR VERSION AS OF` or `FOR TIMESTAMP AS OF` asks for."""
        version = table.args.get("version")
        if version is None:
            return default
        literal = version.expression.unnest()
        literal = literal.this if isinstance(literal, exp.Cast) else literal
        if not isinstance(literal, exp.Literal):
            raise BadSql(
                "A version has to be a literal.",
                hint="Write FOR VERSION AS OF 123 or FOR TIMESTAMP AS OF TIMESTAMP '…'.",
            )
        try:
            if str(version.this).upper() == "VERSION":
                return Version(tag=literal.name) if literal.is_string else Version(snapshot=int(literal.name))
            moment = parse_value(literal.name.removesuffix(" UTC"), "timestamp(6) with time zone")
        except ValueError:
            raise BadSql("That is no version.", hint=_VERSION_HINT) from None
        return Version(as_of=moment if isinstance(moment, datetime) else None)

    def pin(self, table: exp.Table, pinned: exp.Table) -> None:
        """Puts the looked-up name and version in the place of the written one."""
        for part in ("this", "db", "catalog", "version"):
            table.set(part, pinned.args[part].copy() if pinned.args.get(part) is not None else None)

    def qualified(self, relations: Mapping[RelationKey, GovernedRelation]) -> exp.Query:
        """The tree with every column traced to its source; only columns that are shown exist.

        Raises:
            BadSql: a column that there isn't.
        """
        schema = MappingSchema(dialect="trino", normalize=False)
        for (namespace, name, _), governed in relations.items():
            shown = frozenset(governed.decision.columns)
            columns = {column.name: column.type for column in governed.relation.columns if column.name in shown}
            schema.add_table(exp.table_(name, db=namespace, catalog="lake", quoted=True), columns, dialect="trino")
        try:
            tree = qualify(self.tree, schema=schema, dialect="trino", quote_identifiers=True, identify=True)
        except (OptimizeError, SqlglotError) as error:
            raise BadSql(_first_line(error), hint="DESCRIBE or the table's page lists its columns.") from None
        if not isinstance(tree, exp.Query):
            raise BadSql("Only queries are taken.", hint="Write SELECT …")
        return tree

    def bind(self, parameters: Mapping[str, Value | None]) -> dict[str, Value | None]:
        """The values of the placeholders that the query has."""
        names = {node.name for node in self.tree.find_all(exp.Placeholder)}
        for name in sorted(names):
            if name not in parameters:
                raise MissingParameter(f"The placeholder :{name} has no value.", hint="Give it in parameters.")
        return {name: value for name, value in parameters.items() if name in names}

    def output(self, schema: pa.Schema) -> tuple[OutputColumn, ...]:
        """The answer's columns."""
        return tuple(OutputColumn(field.name, trino_type(lake_type(field.type, field.name))) for field in schema)


def parse_sql(text: str) -> Parsed:
    """Parses one query of Trino's SQL and holds it against the allow-lists.

    Raises:
        BadSql: not one query, too long, nested too deep, or not SQL.
        NotAllowedSql: a statement, an expression or a function outside the allow-lists.
    """
    if len(text.encode(errors="surrogatepass")) > _MAX_BYTES:
        raise BadSql("The SQL has more than 64 kB.", hint="Shorten it, or use parameters.")
    try:
        trees = [tree for tree in sqlglot.parse(text, dialect="trino") if tree is not None]
    except ParseError as error:
        place = error.errors[0] if error.errors else {}
        raise BadSql(
            "That is no SQL that Sluice understands.",
            hint="It follows Trino's grammar.",
            line=place.get("line"),
            column=place.get("col"),
        ) from None
    except (RecursionError, SqlglotError):
        raise BadSql("The SQL is nested too deep, or is no SQL.", hint="Flatten it.") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Query) or not trees[0].selects:
        raise BadSql("One query is taken at a time.", hint="Write one SELECT, without others after it.")
    check_allowed(trees[0])
    return Parsed(trees[0])


def _resource(table: exp.Table) -> Resource:
    catalog, namespace, name = table.catalog.lower() or "lake", table.db.lower(), table.name
    if catalog != "lake" or not namespace or not isinstance(table.this, exp.Identifier):
        raise ResourceNotFound()
    try:
        if namespace == "files":
            return Resource.file(name)
        return Resource.table(f"{namespace}.{name.lower()}")
    except Invalid:
        raise ResourceNotFound() from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". Line")[0][:200]
