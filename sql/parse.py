"""Text becomes one query in Trino's dialect, or a problem that says where it went wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Final

import pyarrow as pa
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import OptimizeError, SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from sqlglot.optimizer.qualify_columns import qualify_columns, quote_identifiers, validate_qualify_columns
from sqlglot.optimizer.qualify_tables import qualify_tables
from sqlglot.optimizer.scope import traverse_scope

from catalog.arrow_types import lake_type, trino_type
from catalog.resources import Resource, ResourceNotFound
from infra.errors import Invalid
from sql.governed import GovernedRelation, RelationKey, relation_key
from sql.known import Known
from sql.listings import LISTINGS, Listing, Narrowed
from sql.query import Session, Version
from sql.reading import BadSql, read
from sql.result import OutputColumn
from sql.rules.allowed import check_allowed
from sql.show import BadShow, show
from sql.shown_columns import ShownColumns
from sql.values import Value, parse_value

_TRINO: Final = Dialect.get_or_raise("trino")
_UNRESOLVED = re.compile(r"Column '([^'\n]*)' could not be resolved|Unknown column: ([^\n]*)")
_COLUMNS_HINT = "DESCRIBE or the table's page lists its columns."
_LABEL = "sluice.label"
_VERSION_HINT = "Write FOR VERSION AS OF 123 or FOR TIMESTAMP AS OF TIMESTAMP '2026-11-24 09:30:00 UTC'."


class ColumnNotFound(Invalid):
    code, title = "column-not-found", "There is no such column"


class MissingParameter(Invalid):
    code, title = "missing-parameter", "A placeholder has no value"


class Parsed:
    """One query, its names not yet looked up. Rewriting changes its tree: do that to a fresh one.

    Args:
        tree: the query.
        session: where names without a catalog or a schema are looked up.
        about: a table that `DESCRIBE` and its like are about.
    """

    def __init__(self, tree: exp.Query, session: Session, about: exp.Table | None = None) -> None:
        self.tree = tree
        self._session = session
        self._about = about
        sources = [
            source
            for scope in traverse_scope(tree)
            for node, source in scope.selected_sources.values()
            if isinstance(source, exp.Table) and node is not None
        ]
        listed = [(table, self._listing(table)) for table in sources]
        self._tables = [table for table, listing in listed if listing is None]
        self._listed = [(table, listing) for table, listing in listed if listing is not None]
        self._resources: Sequence[tuple[exp.Table, Resource]] | None = None

    @cached_property
    def _placeholders(self) -> Sequence[str]:
        return sorted({node.name for node in self.tree.find_all(exp.Placeholder)})

    @property
    def lists_anything(self) -> bool:
        """Whether it reads lists, which are filled for one caller and one moment."""
        return bool(self._listed)

    def fresh(self) -> Parsed:
        """The same with a tree of its own."""
        return Parsed(self.tree.copy(), self._session, self._about)

    def tables(self) -> Sequence[tuple[exp.Table, Resource]]:
        """The tables of the lake that are read, told from common table expressions by scope.

        Raises:
            ResourceNotFound: one of them can't be the name of anything.
        """
        if self._resources is None:
            self._resources = [(table, _resource(table, self._session)) for table in self._tables]
        return self._resources

    def about(self) -> Resource | None:
        """What has to be known to the caller, beside what is read."""
        if self._about is None or self._listing(self._about) is not None:
            return None
        return _resource(self._about, self._session)

    def lists(self, known: Known) -> dict[RelationKey, pa.Table]:
        """The lists that are read, filled for one caller."""
        found: dict[RelationKey, tuple[Listing, Narrowed]] = {}
        for table, listing in self._listed:
            narrowed = _narrowed(table)
            pinned = exp.table_(listing.name, db=listing.place, catalog="lake", quoted=True)
            self.pin(table, pinned)
            key = relation_key(pinned)
            found[key] = listing, narrowed if found.get(key, (listing, narrowed))[1] == narrowed else Narrowed()
        return {key: listing.table(known, narrowed) for key, (listing, narrowed) in found.items()}

    def _listing(self, table: exp.Table) -> Listing | None:
        catalog = table.catalog.lower() or self._session.catalog
        schema = table.db.lower() or self._session.schema
        return LISTINGS.get((catalog, schema or "", table.name.lower()))

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
        """Puts the looked-up name and version, which are used up, in the place of the written one."""
        for part in ("this", "db", "catalog", "version"):
            table.set(part, pinned.args.get(part))

    def qualified(self, relations: Mapping[RelationKey, GovernedRelation]) -> exp.Query:
        """The tree with every column traced to its source; only columns that are shown exist.

        Raises:
            BadSql: a column that there isn't.
        """
        _keep_labels(self.tree)
        try:
            tree = _qualify(self.tree, self._columns(relations))
        except (OptimizeError, SqlglotError) as error:
            column = _UNRESOLVED.match(str(error))
            if column is not None:
                raise ColumnNotFound(
                    f"Column '{(column[1] or column[2])[:80]}' cannot be resolved.", hint=_COLUMNS_HINT
                ) from None
            raise BadSql(_first_line(error), hint=_COLUMNS_HINT) from None
        if not isinstance(tree, exp.Query):
            raise BadSql("Only queries are taken.", hint="Write SELECT …")
        _shorten(tree)
        _label(tree)
        return tree

    def _columns(self, relations: Mapping[RelationKey, GovernedRelation]) -> ShownColumns:
        found: dict[RelationKey, Mapping[str, str]] = {}
        for key, item in relations.items():
            shown = frozenset(item.decision.columns)
            found[key] = {column.name: column.type for column in item.relation.columns if column.name in shown}
        found.update((relation_key(table), dict(listing.columns)) for table, listing in self._listed)
        return ShownColumns(found)

    def bind(self, parameters: Mapping[str, Value | None]) -> dict[str, Value | None]:
        """The values of the placeholders that the query has."""
        for name in self._placeholders:
            if name not in parameters:
                raise MissingParameter(f"The placeholder :{name} has no value.", hint="Give it in parameters.")
        return {name: parameters[name] for name in self._placeholders}


def _qualify(tree: exp.Query, columns: ShownColumns) -> exp.Expr:
    """What sqlglot's `qualify` does, but for what it notes on columns for BigQuery."""
    named = qualify_tables(normalize_identifiers(tree, dialect=_TRINO), dialect=_TRINO)
    # Trino knows no alias of the SELECT list in WHERE, GROUP BY and HAVING: a column of that name is meant.
    traced = qualify_columns(named, columns, expand_alias_refs=False)
    return validate_qualify_columns(quote_identifiers(traced, dialect=_TRINO, identify=True))


def output(schema: pa.Schema) -> tuple[OutputColumn, ...]:
    """An answer's columns."""
    return tuple(OutputColumn(field.name, trino_type(lake_type(field.type, field.name))) for field in schema)


def parse_sql(text: str, session: Session = Session()) -> Parsed:  # noqa: B008 - frozen
    """Parses one query of Trino's SQL, `SHOW` or `DESCRIBE`, and holds it against the allow-lists.

    Raises:
        BadSql: not one query, too long, nested too deep, or not SQL.
        NotAllowedSql: a statement, an expression or a function outside the allow-lists.
    """
    try:
        shown = show(text, session)
    except BadShow as error:
        raise BadSql(str(error) or "That can't be shown.", hint="docs/sql.md lists what can be shown.") from None
    if shown is not None:
        return Parsed(shown.query, session, shown.about)
    tree = read(text)
    if isinstance(tree, exp.Values):
        tree = _select_values(tree)
    if not isinstance(tree, exp.Query) or not tree.selects:
        raise BadSql("Only queries are taken.", hint="Write one SELECT.")
    check_allowed(tree)
    _set_clock(tree, session.zone)
    return Parsed(tree, session)


def _set_clock(tree: exp.Query, zone: str) -> None:
    """Lets `current_date` and `localtimestamp` be those of a time zone; engines themselves keep UTC."""
    if zone == "UTC":
        return
    if zone[0] in "+-":  # engines know names only
        minutes = int(f"{zone[0]}1") * (int(zone[1:3]) * 60 + int(zone[4:6]))
        there = f"date_add('minute', {minutes}, CAST(current_timestamp AT TIME ZONE 'UTC' AS timestamp(3)))"
    else:
        there = f"current_timestamp AT TIME ZONE {exp.Literal.string(zone).sql(dialect='trino')}"
    for kind, type_ in ((exp.CurrentDate, "date"), (exp.Localtimestamp, "timestamp(3)")):
        for node in list(tree.find_all(kind)):
            node.replace(read(f"SELECT CAST({there} AS {type_})").expressions[0].copy())


def _select_values(values: exp.Values) -> exp.Select:
    width = len(values.expressions[0].expressions) if isinstance(values.expressions[0], exp.Tuple) else 1
    names = [f"_col{place}" for place in range(width)]
    alias = exp.TableAlias(this=exp.to_identifier("t"), columns=[exp.to_identifier(name) for name in names])
    values.set("alias", alias)
    return exp.select("*").from_(values, copy=False)


def _outermost(tree: exp.Query) -> exp.Select | None:
    """The select that names the answer's columns."""
    while not isinstance(tree, exp.Select):
        inner = tree.this
        if not isinstance(inner, exp.Query):
            return None
        tree = inner
    return tree


def _shorten(tree: exp.Query) -> None:
    """Leaves a column only its table's alias: its schema is not there any more once the table is a sub-select."""
    if not any(column.args.get("db") for column in tree.find_all(exp.Column)):
        return
    for scope in traverse_scope(tree):
        for column in scope.columns:
            if column.args.get("db") is None:
                continue
            source = scope.sources.get(column.table)
            known = (source.db.rpartition(".")[2], source.name) if isinstance(source, exp.Table) else None
            if known != (column.db, column.table):  # an alias hides the schema
                raise ColumnNotFound(f"Column '{column.sql()[:80]}' cannot be resolved.", hint=_COLUMNS_HINT)
            column.set("db", None)
            column.set("catalog", None)


def _keep_labels(tree: exp.Query) -> None:
    """Notes how the answer's columns are written, since names are looked up in lower case."""
    select = _outermost(tree)
    for place, projection in enumerate(select.expressions if select is not None else []):
        if isinstance(projection, exp.Alias | exp.Column):
            projection.meta[_LABEL] = projection.output_name
        elif not isinstance(projection, exp.Star | exp.Dot):
            projection.replace(exp.alias_(projection.copy(), f"?{place}", quoted=True))


def _label(tree: exp.Query) -> None:
    """Calls the answer's columns as they were written; one without a name `_col` and its place, as Trino does."""
    select = _outermost(tree)
    renamed = {}
    for place, projection in enumerate(select.expressions if select is not None else []):
        old = projection.alias_or_name
        new = projection.meta.get(_LABEL) or projection.this.meta.get(_LABEL) or old
        new = f"_col{place}" if new.startswith("?") else new
        if new not in {old, "*"}:
            projection.set("alias", exp.to_identifier(new, quoted=True))
            renamed[old] = new
    for column in tree.args["order"].find_all(exp.Column) if tree.args.get("order") else []:
        if not column.table and column.name in renamed:
            column.set("this", exp.to_identifier(renamed[column.name], quoted=True))


def _narrowed(table: exp.Table) -> Narrowed:
    """What `table_schema = '…' AND table_name = '…'` beside a list leave of it."""
    select = table.find_ancestor(exp.Select)
    where = select.args.get("where") if select is not None else None
    if where is None or (select is not None and select.args.get("joins")):
        return Narrowed()
    found: dict[str, str] = {}
    for condition in where.this.flatten() if isinstance(where.this, exp.And) else [where.this]:
        if isinstance(condition, exp.EQ) and isinstance(condition.this, exp.Column):
            value = condition.expression
            if isinstance(value, exp.Literal) and value.is_string:
                found.setdefault(condition.this.name.lower(), value.name)
    schema = found.get("table_schema", found.get("table_schem"))
    return Narrowed(schema, found.get("table_name"))


def _resource(table: exp.Table, session: Session) -> Resource:
    catalog = table.catalog.lower() or session.catalog
    namespace, name = table.db.lower() or session.schema or "", table.name
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
