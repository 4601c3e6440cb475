"""`SHOW …` and `DESCRIBE …` as queries over lists, as Trino itself answers them (its `ShowQueriesRewrite`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sql.query import Session
from sql.rules.allowed import NotAllowedSql

_LONGEST: Final = 1000  # characters; the patterns below go back and forth
_HEAD: Final = re.compile(r"\s*(show|describe|desc)\b\s*(.*)", re.IGNORECASE | re.DOTALL)
_WHAT: Final = re.compile(
    r"(?P<what>create\s+table|create\s+view|current\s+roles|catalogs|schemas|tables|columns|functions|session|roles)\b\s*"
    r"(?:(?:from|in)\b\s*)?(?P<name>.*?)\s*"
    r"(?:\blike\s+(?P<like>'(?:[^']|'')*')(?:\s+escape\s+(?P<escape>'(?:[^']|'')'))?)?\s*;?\s*",
    re.IGNORECASE | re.DOTALL,
)


class BadShow(Exception):
    """It begins like one of ours, and goes on like none."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The query that answers, and the table that has to be known for it to be asked."""

    query: exp.Select
    about: exp.Table | None = None


def show(text: str, session: Session) -> Shown | None:
    """The query behind a `SHOW` or a `DESCRIBE`; None where the text is neither.

    Raises:
        NotAllowedSql: a `SHOW` that tells more than Sluice does.
        BadShow: it can't be understood.
    """
    head = _HEAD.fullmatch(text)
    if head is None:
        return None
    if len(text) > _LONGEST:
        raise BadShow("That is too long for a SHOW.")
    if head[1].lower() != "show":
        return _columns(head[2].rstrip("; \n\t\r"), session, None)
    found = _WHAT.fullmatch(head[2])
    if found is None:
        word = re.match(r"\w*", head[2])
        raise NotAllowedSql(
            f"SHOW {word[0].upper()[:40] if word else ''} is not answered.",
            hint="CATALOGS, SCHEMAS, TABLES, COLUMNS, CREATE TABLE, FUNCTIONS, SESSION and ROLES can be shown.",
        )
    pattern = found["like"]
    like = None if pattern is None else _Like(pattern, found["escape"])
    return _SHOWS[" ".join(found["what"].lower().split())](found["name"], session, like)


@dataclass(frozen=True, slots=True)
class _Like:
    pattern: str
    escape: str | None

    def holds(self, column: str) -> exp.Expr:
        like: exp.Expr = exp.Like(this=exp.column(column), expression=_unquoted(self.pattern))
        return like if self.escape is None else exp.Escape(this=like, expression=_unquoted(self.escape))


def _unquoted(text: str) -> exp.Literal:
    return exp.Literal.string(text[1:-1].replace("''", "'"))


def _select(listing: tuple[str, str, str], *columns: tuple[str, str], order: str) -> exp.Select:
    catalog, schema, name = listing
    shown = [exp.alias_(exp.column(column), title, quoted=True) for column, title in columns]
    table = exp.table_(name, db=schema, catalog=catalog, quoted=True)
    return exp.select(*shown).from_(table).order_by(exp.column(order))


def _where(select: exp.Select, like: _Like | None, column: str, **equal: str) -> Shown:
    for name, value in equal.items():
        select = select.where(exp.column(name).eq(exp.Literal.string(value)), copy=False)
    return Shown(select if like is None else select.where(like.holds(column), copy=False))


def _catalogs(name: str, _session: Session, like: _Like | None) -> Shown:
    _no_name(name)
    listing = _select(("system", "metadata", "catalogs"), ("catalog_name", "Catalog"), order="catalog_name")
    return _where(listing, like, "catalog_name")


def _schemas(name: str, session: Session, like: _Like | None) -> Shown:
    catalog = _table(name).name.lower() if name else session.catalog
    listing = _select(("lake", "information_schema", "schemata"), ("schema_name", "Schema"), order="schema_name")
    return _where(listing, like, "schema_name", catalog_name=catalog)


def _tables(name: str, session: Session, like: _Like | None) -> Shown:
    place = _table(name) if name else None
    schema = place.name.lower() if place else session.schema
    if schema is None:
        raise BadShow("Name a schema, for example SHOW TABLES FROM lake.raw.")
    catalog = (place.db.lower() if place else "") or session.catalog
    listing = _select(("lake", "information_schema", "tables"), ("table_name", "Table"), order="table_name")
    return _where(listing, like, "table_name", table_catalog=catalog, table_schema=schema)


def _columns(name: str, session: Session, like: _Like | None) -> Shown:
    about = _about(name, session)
    listing = exp.select(
        exp.alias_(exp.column("column_name"), "Column", quoted=True),
        exp.alias_(exp.column("data_type"), "Type", quoted=True),
        exp.alias_(exp.Literal.string(""), "Extra", quoted=True),
        exp.alias_(exp.Literal.string(""), "Comment", quoted=True),
    ).from_(exp.table_("columns", db="information_schema", catalog="lake", quoted=True))
    listing = listing.order_by(exp.column("ordinal_position"))
    return Shown(_where(listing, like, "column_name", table_schema=about.db, table_name=about.name).query, about)


def _create_table(name: str, session: Session, like: _Like | None) -> Shown:
    if like is not None:
        raise BadShow("SHOW CREATE TABLE takes no LIKE.")
    about = _about(name, session)
    listing = _select(("lake", "information_schema", "$definitions"), ("sql", "Create Table"), order="table_name")
    return Shown(_where(listing, None, "", table_schema=about.db, table_name=about.name).query, about)


def _create_view(_name: str, _session: Session, _like: _Like | None) -> Shown:
    raise NotAllowedSql("There are no views.", hint="SHOW CREATE TABLE shows a table's columns.")


def _roles(name: str, _session: Session, like: _Like | None) -> Shown:
    _no_name(name)
    listing = _select(("lake", "information_schema", "enabled_roles"), ("role_name", "Role"), order="role_name")
    return _where(listing, like, "role_name")


def _functions(name: str, _session: Session, like: _Like | None) -> Shown:
    _no_name(name)
    titles = ("Function", "Return Type", "Argument Types", "Function Type", "Deterministic", "Description")
    names = ("name", "return_type", "argument_types", "function_type", "deterministic", "description")
    pairs = tuple(zip(names, titles, strict=True))
    return _where(_select(("lake", "information_schema", "$functions"), *pairs, order="name"), like, "name")


def _session_properties(name: str, _session: Session, like: _Like | None) -> Shown:
    _no_name(name)
    titles = ("Name", "Value", "Default", "Type", "Description")
    pairs = tuple((title.lower(), title) for title in titles)
    return _where(_select(("lake", "information_schema", "$session"), *pairs, order="name"), like, "name")


_SHOWS: Final[dict[str, Callable[[str, Session, _Like | None], Shown]]] = {
    "catalogs": _catalogs,
    "schemas": _schemas,
    "tables": _tables,
    "columns": _columns,
    "create table": _create_table,
    "create view": _create_view,
    "functions": _functions,
    "session": _session_properties,
    "roles": _roles,
    "current roles": _roles,
}


def _no_name(name: str) -> None:
    if name:
        raise BadShow("That SHOW takes LIKE only.")


def _about(name: str, session: Session) -> exp.Table:
    """The table, its schema written out, in lower case as Trino has every name; a file's path stays as it is."""
    table = _table(name)
    schema = table.db.lower() or session.schema
    if schema is None:
        raise BadShow("Name the table's schema, for example lake.raw.transactions.")
    catalog = table.catalog.lower() or session.catalog
    known = table.name if schema == "files" else table.name.lower()
    return exp.table_(known, db=schema, catalog=catalog, quoted=True)


def _table(name: str) -> exp.Table:
    try:
        table = sqlglot.parse_one(name, into=exp.Table, dialect="trino")
    except SqlglotError:
        raise BadShow("That is no name.") from None
    plain = table.copy()
    for part in ("this", "db", "catalog"):
        plain.set(part, None)
    if not isinstance(table.this, exp.Identifier) or any(plain.args.values()):
        raise BadShow("That is no name.")
    return table
