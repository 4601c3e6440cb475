"""The rows grammar: a URL's query parameters become a `RowsQuestion`. What it names is looked up later.

select=a,b   order=a.desc,b   limit=10   cursor=…   snapshot=…|as_of=…|tag=…
column=op.value   column=not.op.value   or=(a.eq.1,b.gt.2)   and=(…)   nested, `not.or=(…)`
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from catalog.resources import clip
from infra.errors import BadRequest, Invalid
from sql.operators import OPERATORS
from sql.query import Condition, Group, Ordering, RowsQuestion, Version
from sql.values import parse_value

# Parameters that are not columns. A column of such a name is reached by `and=(limit.eq.3)`.
RESERVED: Final = ("select", "order", "limit", "cursor", "snapshot", "as_of", "tag", "or", "and", "not.or", "not.and")
_MAX_DEPTH: Final = 8
_MAX_CONDITIONS: Final = 100
_MAX_LIST: Final = 1000
_MAX_VALUE: Final = 8192


class LimitTooLarge(Invalid):
    code, title = "limit-too-large", "The limit is too large"


class BadFilter(Invalid):
    code, title = "bad-filter", "The filter can't be understood"


class UnknownOperator(Invalid):
    code, title = "unknown-operator", "There is no such operator"


class BadParameter(Invalid):
    code, title = "bad-parameter", "A parameter's value does not fit"


class RepeatedParameter(BadRequest):
    code, title = "repeated-parameter", "A parameter was given more than once"


def parse_question(
    parameters: Iterable[tuple[str, str]], *, page_limit: int | None, count: str | None = None
) -> RowsQuestion:
    """Parses query parameters.

    Args:
        parameters: names and values in the URL's order, decoded.
        page_limit: the most that `limit` may be, and its default is at most 10; None where everything is asked for
            (export), and `limit` and `cursor` are not taken.
        count: `exact` or `estimated` where a total is wanted.

    Returns:
        The question, its names and values still text.

    Raises:
        BadFilter, UnknownOperator, BadParameter, LimitTooLarge, RepeatedParameter: each names the parameter.
    """
    single: dict[str, str] = {}
    conditions: list[Condition | Group] = []
    for name, value in parameters:
        if len(value) > _MAX_VALUE:
            raise BadParameter(
                f"The value of {clip(name)} has {len(value)} characters.",
                hint=f"At most {_MAX_VALUE} are taken.",
                parameter=name[:128],
            )
        if name in {"or", "and", "not.or", "not.and"}:
            conditions.append(_Reader(name, value).group())
        elif name in RESERVED:
            if name in single:
                raise RepeatedParameter(f"{name} was given twice.", hint=f"Give {name} once.", parameter=name)
            single[name] = value
        else:
            conditions.append(_condition(name, value, name))
    _check_size(conditions)
    return RowsQuestion(
        select=_select(single["select"]) if "select" in single else None,
        where=Group(any=False, items=tuple(conditions)),
        order=_order(single.get("order")),
        limit=_limit(single.get("limit"), page_limit),
        cursor=_cursor(single.get("cursor"), page_limit),
        count=count,
        version=parse_version(single.get("snapshot"), single.get("as_of"), single.get("tag")),
    )


def parse_version(snapshot: str | None, as_of: str | None, tag: str | None) -> Version:
    """`snapshot`, `as_of` or `tag` as a Version; raises BadParameter, also where two are given."""
    if sum(part is not None for part in (snapshot, as_of, tag)) > 1:
        raise BadParameter(
            "snapshot, as_of and tag each name a version.", hint="Give only one of them.", parameter="snapshot"
        )
    if snapshot is not None:
        if not re.fullmatch(r"[0-9]{1,19}", snapshot) or int(snapshot) >= 2**63:
            raise BadParameter(
                f"{clip(snapshot)} is no snapshot id.",
                hint="Take the id of one from …/snapshots.",
                parameter="snapshot",
                expected="a snapshot's id, a whole number",
            )
        return Version(snapshot=int(snapshot))
    if as_of is not None:
        try:
            moment = parse_value(as_of, "timestamp(6) with time zone")
        except ValueError:
            moment = None
        if not isinstance(moment, datetime):
            raise BadParameter(
                f"{clip(as_of)} is no point in time.",
                hint="Write it like 2026-11-24T09:30:00Z.",
                parameter="as_of",
                expected="a date and time, for example 2026-11-24T09:30:00Z",
            )
        return Version(as_of=moment)
    if tag is not None:
        if not tag or len(tag) > 128:
            raise BadParameter("A tag's name is needed.", hint="Take one from …/snapshots.", parameter="tag")
        return Version(tag=tag)
    return Version()


def _select(text: str) -> tuple[str, ...] | None:
    if text.strip() == "*":
        return None
    names = tuple(_split(text, "select"))
    if not names or not all(names):
        raise BadParameter(
            "select names no column.",
            hint="Write select=column,column, or leave it out for all that you may see.",
            parameter="select",
            expected="column names with commas between them",
        )
    if len(set(names)) != len(names):
        raise BadParameter("select names a column twice.", hint="Name each column once.", parameter="select")
    return names


def _order(text: str | None) -> tuple[Ordering, ...]:
    if text is None:
        return ()
    orders = []
    for part in _split(text, "order"):
        words = part.split(".")
        nulls_first = words[-1] == "nullsfirst"
        if words[-1] in {"nullsfirst", "nullslast"} and len(words) > 1:
            words.pop()
        descending = words[-1] == "desc"
        if words[-1] in {"asc", "desc"} and len(words) > 1:
            words.pop()
        column = ".".join(words)
        if not column:
            raise BadParameter(
                f"{clip(text)} is no order.",
                hint="Write order=column.desc,column.asc; nulls come last unless .nullsfirst follows.",
                parameter="order",
                expected="column, column.desc or column.asc, with commas between them",
            )
        orders.append(Ordering(column, descending, nulls_first))
    if len({order.column for order in orders}) != len(orders) or len(orders) > 16:
        raise BadParameter(
            "order names a column twice, or more than 16.", hint="Name each column once.", parameter="order"
        )
    return tuple(orders)


def _limit(text: str | None, page_limit: int | None) -> int | None:
    if page_limit is None:
        if text is not None:
            raise BadParameter(
                "There is no limit here.", hint="Leave limit out, or read …/rows instead.", parameter="limit"
            )
        return None
    if text is None:
        return min(10, page_limit)
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < 1:
        raise BadParameter(
            f"{clip(text)} is no limit.",
            hint=f"Give a whole number from 1 to {page_limit}.",
            parameter="limit",
            expected=f"a whole number from 1 to {page_limit}",
        )
    if int(text) > page_limit:
        raise LimitTooLarge(
            f"limit is {text}, and a page has at most {page_limit} rows.",
            hint="Follow page.next for more rows, or use …/export for all of them.",
            parameter="limit",
            expected=f"a whole number from 1 to {page_limit}",
        )
    return int(text)


def _cursor(text: str | None, page_limit: int | None) -> str | None:
    if text is not None and page_limit is None:
        raise BadParameter("There is no cursor here.", hint="Leave cursor out.", parameter="cursor")
    return text


def _condition(column: str, text: str, parameter: str) -> Condition:
    rest, negated = text, False
    if rest.startswith("not."):
        rest, negated = rest.removeprefix("not."), True
    key, dot, operand = rest.partition(".")
    if key == "is" and dot:
        key, operand = f"is.{operand}", ""
    operator = OPERATORS.get(key)
    if operator is None or (not dot and not key.startswith("is.")):
        raise UnknownOperator(
            f"{clip(text)} begins with no operator.",
            hint=_suggest_operator(key, column),
            parameter=parameter[:128],
            expected=", ".join(OPERATORS),
        )
    if operator.operand == "list":
        return Condition(column, key, tuple(_list(operand, parameter)), negated, parameter)
    return Condition(column, key, (operand,) if not key.startswith("is.") else (), negated, parameter)


def _suggest_operator(key: str, column: str) -> str:
    near = difflib.get_close_matches(key, OPERATORS, n=1)
    return f"Did you mean {near[0]}?" if near else f"Write {clip(column, 40)[1:-1]}=eq.VALUE; the operators are listed."


def _list(text: str, parameter: str) -> list[str]:
    if not (text.startswith("(") and text.endswith(")")):
        raise BadFilter(
            f"The list {clip(text)} has no parentheses.",
            hint='Write in.(a,b); a value with a comma in quotes: in.("a,b",c).',
            parameter=parameter[:128],
        )
    values = _split(text[1:-1], parameter)
    if not values or len(values) > _MAX_LIST:
        raise BadFilter(
            f"The list has {len(values)} values.", hint=f"Give from 1 to {_MAX_LIST}.", parameter=parameter[:128]
        )
    return values


def _split(text: str, parameter: str) -> list[str]:
    """Splits at commas, but not inside double quotes, where a backslash makes the next character plain."""
    if text == "":
        return []
    reader = _Reader(parameter, text)
    parts = [reader.item(",")]
    while not reader.done:
        reader.expect(",")
        parts.append(reader.item(","))
    return parts


def _check_size(items: Sequence[Condition | Group]) -> None:
    count = sum(1 for _ in _leaves(items))
    if count > _MAX_CONDITIONS:
        raise BadFilter(
            f"The filter has {count} conditions.", hint=f"Use at most {_MAX_CONDITIONS}; in.(…) takes a list."
        )


def _leaves(items: Sequence[Condition | Group]) -> Iterable[Condition]:
    for item in items:
        if isinstance(item, Group):
            yield from _leaves(item.items)
        else:
            yield item


class _Reader:
    """Reads `(a.eq.1,or(b.gt.2,not.and(c.is.null)))` from left to right."""

    def __init__(self, parameter: str, text: str) -> None:
        self.parameter, self.text, self.at = parameter, text, 0

    @property
    def done(self) -> bool:
        return self.at >= len(self.text)

    def fail(self, what: str) -> BadFilter:
        return BadFilter(
            f"{what} at character {self.at + 1} of {clip(self.parameter, 40)[1:-1]}.",
            hint="Write or=(country.eq.FR,amount.gt.100); put a value that holds , ( or ) in double quotes.",
            parameter=self.parameter[:128],
        )

    def expect(self, character: str) -> None:
        if self.text[self.at : self.at + 1] != character:
            raise self.fail(f"'{character}' is missing")
        self.at += 1

    def group(self) -> Group:
        negated = self.parameter.startswith("not.")
        group = self._group(self.parameter.removeprefix("not.") == "or", negated, depth=1)
        if not self.done:
            raise self.fail("Something follows the last ')'")
        return group

    def _group(self, any_: bool, negated: bool, depth: int) -> Group:
        if depth > _MAX_DEPTH:
            raise BadFilter(
                f"The filter is nested more than {_MAX_DEPTH} deep.",
                hint="Flatten it: and(a,and(b,c)) is and(a,b,c).",
                parameter=self.parameter,
            )
        self.expect("(")
        items = [self._member(depth)]
        while self.text[self.at : self.at + 1] == ",":
            self.at += 1
            items.append(self._member(depth))
        self.expect(")")
        return Group(any_, tuple(items), negated)

    def _member(self, depth: int) -> Condition | Group:
        nested = re.compile(r"(not\.)?(and|or)\(").match(self.text, self.at)
        if nested:
            self.at = nested.end() - 1
            return self._group(nested[2] == "or", bool(nested[1]), depth + 1)
        column = self.item(".")
        self.expect(".")
        start = self.at
        head = re.compile(r"(not\.)?in\.\(").match(self.text, self.at)
        if head:
            self.at = head.end()
            while not self.done and self.text[self.at] != ")":
                self.item(",")
                if self.text[self.at : self.at + 1] == ",":
                    self.at += 1
            self.expect(")")
            return _condition(column, self.text[start : self.at], self.parameter)
        prefix = re.compile(r"(not\.)?[a-z]+(\.|(?=[,)]))").match(self.text, self.at)
        if not prefix:
            raise self.fail("An operator is missing")
        self.at = prefix.end()
        operand = self.item(",")
        return _condition(column, f"{prefix[0]}{operand}", self.parameter)

    def item(self, stop: str) -> str:
        """Reads a quoted or a plain item up to `stop` or a parenthesis, which is left unread."""
        if self.text[self.at : self.at + 1] == '"':
            return self._quoted()
        start = self.at
        while not self.done and self.text[self.at] not in (stop + "()" if stop != "." else ".,()"):
            self.at += 1
        return self.text[start : self.at]

    def _quoted(self) -> str:
        self.at += 1
        characters = []
        while not self.done and self.text[self.at] != '"':
            if self.text[self.at] == "\\":
                self.at += 1
            characters.append(self.text[self.at : self.at + 1])
            self.at += 1
        self.expect('"')
        return "".join(characters)
