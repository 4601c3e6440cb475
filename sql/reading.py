"""Text becomes a tree in which every function keeps the name that Trino gives it.

sqlglot reads calls into its own vocabulary, which is that of all dialects together: names that Trino has not would be
taken, and arguments be understood as another dialect means them. So the names on our list are marked before the
parser sees them; whatever is not marked is refused by the allow-list, or belongs to the few forms that have a syntax of
their own (CAST, EXTRACT, TRIM, …), which become plain calls here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.expressions.builders import apply_index_offset
from sqlglot.tokenizer_core import Token, TokenType

from infra.errors import Invalid
from sql.functions import FUNCTIONS

_LONGEST: Final = 65_536  # bytes
_MOST_TOKENS: Final = 10_000
_DEEPEST: Final = 100
_MOST_OPEN_JOINS: Final = 8  # joins that still wait for their ON are read in a time that doubles with each
_DIGITS: Final = 38  # of a decimal
_MARK: Final = "\x1f"
_TRINO: Final = Dialect.get_or_raise("trino")
_OPENING: Final = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE}
_CLOSING: Final = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END}
_JOINS: Final = {TokenType.JOIN, TokenType.STRAIGHT_JOIN}
_PREFIX: Final = {TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE}
# Forms with a syntax of their own, or names that are types as well.
_OWN_SYNTAX: Final = frozenset({"substring", "trim", "map", "listagg", "if", "date"})


class BadSql(Invalid):
    code, title = "bad-sql", "The SQL can't be understood"


def read(text: str) -> exp.Expr:
    """The one statement of a text.

    Raises:
        BadSql: none or several, too long, nested too deep, or not SQL.
    """
    try:
        tokens = words(text)
        _mark(tokens)
        trees = [tree for tree in _TRINO.parser().parse(tokens, text) if tree is not None]
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
    if len(trees) != 1:
        raise BadSql("One query is taken at a time.", hint="Write one SELECT, without others after it.")
    return _plain(trees[0])


def words(text: str) -> list[Token]:
    """The words of a text, no more and not deeper than the parser stands: it is recursive and can't be interrupted.

    Raises:
        BadSql: too long, or nested too deep.
        SqlglotError: a quote or a comment is not closed.
    """
    if len(text.encode(errors="surrogatepass")) > _LONGEST:
        raise BadSql("The SQL has more than 64 kB.", hint="Shorten it, or use parameters.")
    tokens = list(_TRINO.tokenize(text))
    if len(tokens) > _MOST_TOKENS:
        raise BadSql(f"The SQL has more than {_MOST_TOKENS:,} words.", hint="Shorten it, or use parameters.")
    depth = prefixes = waiting = 0
    before = None
    for token in tokens:
        kind = token.token_type
        if kind in _OPENING:
            depth += 1
        elif kind in _CLOSING:
            depth -= 1
        prefixes = prefixes + 1 if kind in _PREFIX else 0
        if kind in _JOINS and before not in {TokenType.CROSS, TokenType.NATURAL}:
            waiting += 1
        elif kind in {TokenType.ON, TokenType.USING}:
            waiting = max(0, waiting - 1)
        before = kind
        if depth > _DEEPEST or prefixes > _DEEPEST:
            raise BadSql("The SQL is nested too deep.", hint="Flatten it.")
        if waiting > _MOST_OPEN_JOINS:
            raise BadSql("Joins wait for their ON.", hint="Write ON or USING after each JOIN, or CROSS JOIN.")
    return tokens


def _mark(tokens: list[Token]) -> None:
    before = None
    for token, following in pairwise(tokens):
        if (
            following.token_type is TokenType.L_PAREN
            and before not in {TokenType.DOT, TokenType.ALIAS}
            and (name := token.text.lower()) in FUNCTIONS
            and name not in _OWN_SYNTAX
            and token.token_type is not TokenType.STRING
        ):
            token.text = _MARK + name
        if token.token_type is TokenType.DECIMAL and following.token_type is TokenType.STRING:
            following.text = _MARK + following.text
        before = token.token_type


def _plain(tree: exp.Expr) -> exp.Expr:
    """Takes the marks off again, and makes calls of the forms that have a syntax of their own."""
    for node in list(tree.walk()):
        node._meta = None  # where each word stood: copying it would take longer than copying the tree
        plain: exp.Expr | None = None
        if isinstance(node, exp.Identifier):
            if node.this.startswith(_MARK):
                node.set("this", node.this.removeprefix(_MARK))
        elif isinstance(node, exp.Anonymous):
            node.set("this", node.name.removeprefix(_MARK))
        elif isinstance(node, exp.Literal):
            if node.is_string and node.name.startswith(_MARK) and isinstance(node.parent, exp.Cast):
                _decimal(node, node.parent)
        elif isinstance(node, exp.DataType) and node.this is exp.DType.DECIMAL and not node.expressions:
            node.set("expressions", [exp.DataTypeParam(this=exp.Literal.number(digits)) for digits in (_DIGITS, 0)])
        elif isinstance(node, exp.Bracket):
            index = apply_index_offset(node.this, node.expressions, 1, dialect="trino")
            node.set("expressions", index)
            node.set("offset", 1)
        else:
            plain = _call(node)
        if plain is not None:
            if node is tree:
                tree = plain
            else:
                node.replace(plain)
    return tree


def _decimal(literal: exp.Literal, cast: exp.Cast) -> None:
    """`DECIMAL '1.20'` has as many digits as it is written with, unlike a conversion to `DECIMAL`."""
    text = literal.name.removeprefix(_MARK)
    whole, _, fraction = text.lstrip("+-").partition(".")
    digits = len(whole.lstrip("0")) + len(fraction)
    if not (whole + fraction).isdecimal() or digits > _DIGITS:
        raise BadSql(f"That is no decimal of up to {_DIGITS} digits.", hint="Write DECIMAL '12.34'.")
    literal.set("this", text)
    cast.set("to", exp.DataType.build(f"decimal({digits or 1}, {len(fraction)})", dialect="trino"))


def _call(node: exp.Expr) -> exp.Expr | None:  # noqa: PLR0911 - one line a form
    arguments = node.args
    match node:
        case exp.Extract():
            return call(_part(node), node.expression)
        case exp.Substring():
            return call("substring", node.this, arguments.get("start"), arguments.get("length"))
        case exp.StrPosition():
            return call("strpos", node.this, arguments.get("substr"))
        case exp.Trim():
            name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(arguments.get("position")).upper(), "trim")
            return call(name, node.this, node.expression or None)
        case exp.Map():
            lists = [part for part in (arguments.get("keys"), arguments.get("values")) if part is not None]
            return call("map", *lists)
        case exp.GroupConcat() if not arguments.get("on_overflow"):
            return call("listagg", node.this, arguments.get("separator"))
        case exp.AtTimeZone():
            return call("at_timezone", node.this, arguments.get("zone"))
        case exp.ParseJSON():
            return call("json_parse", node.this)
        case exp.Date() if node.this is not None and not arguments.get("zone") and not node.expressions:
            return call("date", node.this)
        case exp.JSONValue() if not arguments.get("returning") and not arguments.get("on_condition"):
            return call("json_extract_scalar", node.this, arguments.get("path"))
    return None


def call(name: str, *arguments: exp.Expr | None) -> exp.Anonymous:
    """A plain call of a function on the list."""
    return exp.Anonymous(this=name, expressions=[argument for argument in arguments if argument is not None])


def _part(node: exp.Extract) -> str:
    name = node.name.lower()
    return {"week": "week", "dow": "day_of_week", "doy": "day_of_year", "yow": "year_of_week"}.get(name, name)
