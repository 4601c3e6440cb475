"""What a line that an analyst's tool sends is: a query, or something about the session that it belongs to.

Trino keeps no session: its clients carry catalog, schema, properties and prepared statements, and are told what to
change. So a statement here is data; whoever speaks the protocol acts on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from sql.reading import BadSql, words
from sql.rules.allowed import NotAllowedSql


@dataclass(frozen=True, slots=True)
class Query:
    """Something with rows: `SELECT`, `SHOW`, `DESCRIBE`, `VALUES`, `TABLE`."""

    text: str


@dataclass(frozen=True, slots=True)
class Explain:
    """`EXPLAIN` of a query; `validate` where only its validity is asked for."""

    text: str
    validate: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """`USE catalog.schema`."""

    catalog: str | None
    schema: str


@dataclass(frozen=True, slots=True)
class SetSession:
    """`SET SESSION name = value`, or `RESET SESSION name` where the value is None."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class SetTimeZone:
    """`SET TIME ZONE 'zone'`, or `LOCAL` where it is None."""

    zone: str | None


@dataclass(frozen=True, slots=True)
class Prepare:
    """`PREPARE name FROM text`."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Deallocate:
    """`DEALLOCATE PREPARE name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Execute:
    """`EXECUTE name USING values`; with `EXECUTE IMMEDIATE` the text itself is there instead of a name.

    Args:
        name: of a prepared statement, or None.
        text: the statement, or None.
        values: the expressions after `USING`, as text.
    """

    name: str | None
    text: str | None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DescribePrepared:
    """`DESCRIBE INPUT name` or `DESCRIBE OUTPUT name`."""

    name: str
    output: bool


@dataclass(frozen=True, slots=True)
class Transaction:
    """`START TRANSACTION`, `COMMIT` or `ROLLBACK`: pinned reads need none, drivers send them all the same."""

    started: bool


Statement = (
    Query | Explain | Use | SetSession | SetTimeZone | Prepare | Deallocate | Execute | DescribePrepared | Transaction
)

# What Trino has, and a door for reading has not.
_WRITES: Final = frozenset(
    {"insert", "update", "delete", "merge", "truncate", "create", "alter", "drop", "rename", "comment", "call"}
    | {"grant", "revoke", "deny", "analyze", "refresh", "set", "reset", "kill"}
)
_COMMENTS: Final = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_WORD: Final = re.compile(r"[A-Za-z_]+")
_NAME: Final = r'([A-Za-z_][A-Za-z0-9_]*|"(?:[^"]|"")+")'


def _pattern(text: str) -> re.Pattern[str]:
    # No two parts may match the same spaces: a long run of them would take time by its square.
    return re.compile(text.replace(" ", r"\s+").replace("NAME", _NAME), re.IGNORECASE | re.DOTALL)


_SIMPLE: Final = {
    "use": _pattern(r"use (?:NAME\s*\.\s*)?NAME"),
    "set session": _pattern(r"set session ([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.+)"),
    "reset session": _pattern(r"reset session ([A-Za-z_][A-Za-z0-9_.]*)"),
    "set time zone": _pattern(r"set time zone (?:(local)|'([^']*)')"),
    "prepare": _pattern(r"prepare NAME from (.+)"),
    "deallocate": _pattern(r"deallocate prepare NAME"),
    "describe prepared": _pattern(r"describe (input|output) NAME"),
    "execute immediate": _pattern(r"execute immediate ('(?:[^']|'')*')(?: using (.+))?"),
    "execute": _pattern(r"execute NAME(?: using (.+))?"),
    "start": _pattern(r"(?:start transaction\b.*|begin)"),
    "end": _pattern(r"(?:commit|rollback)(?: work)?"),
    "explain": _pattern(r"explain (?:(analyze)\b|\(([^)]*)\))?(.+)"),
}


def read_statement(text: str) -> Statement:
    """Tells what a statement is. The queries inside are not looked at.

    Raises:
        BadSql: it begins like one of ours, and goes on like none.
        NotAllowedSql: it would write, or it tells of what Sluice does not show.
    """
    text = text[_COMMENTS.match(text).end() :].rstrip("; \t\r\n")  # type: ignore[union-attr] # it matches nothing, too
    word = _WORD.match(text)
    first = word[0].lower() if word else ""
    for kind, pattern in _SIMPLE.items():
        if kind.partition(" ")[0] in {first, "start", "end"} and (found := pattern.fullmatch(text)):
            return _statement(kind, found)
    if first in _WRITES:
        raise NotAllowedSql(f"{first.upper()} is not for a door that only reads.", hint="Write a query.")
    if first in {"use", "prepare", "deallocate", "execute", "explain", "start", "commit", "rollback"}:
        raise BadSql(f"That {first.upper()} can't be understood.", hint="It follows Trino's grammar.")
    return Query(text)


def _statement(kind: str, found: re.Match[str]) -> Statement:  # noqa: PLR0911 - one line a kind
    match kind:
        case "use":
            return Use(_name(found[1]) if found[1] else None, _name(found[2]))
        case "set session":
            return SetSession(found[1].lower(), _literal(found[2]))
        case "reset session":
            return SetSession(found[1].lower(), None)
        case "set time zone":
            return SetTimeZone(None if found[1] else found[2])
        case "prepare":
            return Prepare(_name(found[1]), found[2])
        case "deallocate":
            return Deallocate(_name(found[1]))
        case "describe prepared":
            return DescribePrepared(_name(found[2]), output=found[1].lower() == "output")
        case "execute immediate":
            return Execute(None, found[1][1:-1].replace("''", "'"), split_values(found[2]))
        case "execute":
            return Execute(_name(found[1]), None, split_values(found[2]))
        case "explain":
            return _explain(found)
        case _:
            return Transaction(started=kind == "start")


def _explain(found: re.Match[str]) -> Explain:
    options = " ".join((found[2] or "").upper().split())
    if found[1] or options not in {"", "TYPE LOGICAL", "TYPE DISTRIBUTED", "FORMAT TEXT", "TYPE VALIDATE"}:
        raise NotAllowedSql(
            "That kind of EXPLAIN is not answered.",
            hint="Write EXPLAIN or EXPLAIN (TYPE VALIDATE) before a query.",
        )
    return Explain(found[3].strip(), validate=options == "TYPE VALIDATE")


def split_values(text: str | None) -> tuple[str, ...]:
    """The expressions of a `USING`, split at its commas."""
    if text is None:
        return ()
    parts: list[str] = []
    depth, start = 0, 0
    for token in _tokens(text):
        if token.token_type in {TokenType.L_PAREN, TokenType.L_BRACKET}:
            depth += 1
        elif token.token_type in {TokenType.R_PAREN, TokenType.R_BRACKET}:
            depth -= 1
        elif token.token_type is TokenType.COMMA and depth == 0:
            parts.append(text[start : token.start].strip())
            start = token.end + 1
    return (*parts, text[start:].strip())


def filled(text: str, values: tuple[str, ...]) -> str:
    """A prepared statement with its `?` replaced by the values, each of them one whole expression.

    Raises:
        BadSql: there are more or fewer values than places, or one of them is no expression.
    """
    places = [token for token in _tokens(text) if token.token_type is TokenType.PLACEHOLDER]
    if len(places) != len(values):
        raise BadSql(
            f"The statement takes {len(places)} values, and {len(values)} were given.",
            hint="Give one value after USING for each ? in the statement.",
        )
    pieces, at = [], 0
    for token, value in zip(places, values, strict=True):
        pieces += [text[at : token.start], _expression(value)]
        at = token.end + 1
    return "".join([*pieces, text[at:]])


def placeholders(text: str) -> int:
    """How many values a prepared statement takes."""
    return sum(token.token_type is TokenType.PLACEHOLDER for token in _tokens(text))


def _expression(text: str) -> str:
    """The same expression, written by us: what was read as one value can't be anything else in its new place."""
    _tokens(text)  # bounds it: the parser is recursive
    try:
        tree = sqlglot.parse_one(text, dialect="trino", into=exp.Condition)
    except (SqlglotError, RecursionError):
        raise BadSql("A value after USING is no expression.", hint="Write literals, for example 1 or 'a'.") from None
    if any(tree.find_all(exp.Query, exp.Column, exp.Placeholder)):
        raise BadSql("A value after USING has to be constant.", hint="Write literals, for example 1 or 'a'.")
    written = tree.sql(dialect="trino", comments=False)
    return written if isinstance(tree, exp.Literal) else f"({written})"


def _tokens(text: str) -> list[Token]:
    try:
        return words(text)
    except SqlglotError:
        raise BadSql("That can't be split into words.", hint="A quote or a comment is not closed.") from None


def _name(text: str) -> str:
    return text[1:-1].replace('""', '"').lower() if text.startswith('"') else text.lower()


def _literal(text: str) -> str:
    value = text.strip()
    if re.fullmatch(r"'(?:[^']|'')*'", value):
        return value[1:-1].replace("''", "'")
    if re.fullmatch(r"-?\d+(?:\.\d+)?|true|false", value, re.IGNORECASE):
        return value.lower()
    raise BadSql("A session property takes a literal.", hint="Write a number, true, false or a quoted text.")
