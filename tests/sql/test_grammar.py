"""The rows grammar: what a URL says, and what it can't."""

import pytest

from infra.errors import Problem
from sql.grammar import BadFilter, BadParameter, LimitTooLarge, RepeatedParameter, UnknownOperator, parse_question
from sql.query import Condition, Group, Ordering


def ask(*parameters: tuple[str, str]) -> object:
    return parse_question(parameters, page_limit=10)


def test_a_page_has_ten_rows_unless_fewer_are_asked_for() -> None:
    assert parse_question([], page_limit=10).limit == 10
    assert parse_question([("limit", "3")], page_limit=10).limit == 3
    assert parse_question([], page_limit=5).limit == 5


def test_repeated_columns_are_anded() -> None:
    question = parse_question([("amount", "gt.10"), ("amount", "lte.20")], page_limit=10)
    assert question.where == Group(
        any=False,
        items=(
            Condition("amount", "gt", ("10",), parameter="amount"),
            Condition("amount", "lte", ("20",), parameter="amount"),
        ),
    )


def test_groups_nest_and_negate() -> None:
    question = parse_question([("or", "(a.eq.1,not.and(b.is.null,c.not.in.(x,y)))")], page_limit=10)
    inner = Group(
        any=False,
        items=(
            Condition("b", "is.null", (), parameter="or"),
            Condition("c", "in", ("x", "y"), negated=True, parameter="or"),
        ),
        negated=True,
    )
    (group,) = question.where.items
    assert group == Group(any=True, items=(Condition("a", "eq", ("1",), parameter="or"), inner))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("in.(FR,DE)", ("FR", "DE")),
        ('in.("a,b",c)', ("a,b", "c")),
        ('in.("say \\"hi\\"")', ('say "hi"',)),
        ("in.( x)", (" x",)),
        ('in.("")', ("",)),
    ],
)
def test_lists_keep_what_stands_in_quotes(text: str, values: tuple[str, ...]) -> None:
    (condition,) = parse_question([("country", text)], page_limit=10).where.items
    assert isinstance(condition, Condition)
    assert condition.values == values


def test_values_keep_dots_and_commas() -> None:
    (condition,) = parse_question([("email", "eq.a.b,c@x.org")], page_limit=10).where.items
    assert condition == Condition("email", "eq", ("a.b,c@x.org",), parameter="email")


def test_order_tells_direction_and_nulls() -> None:
    question = parse_question([("order", "amount.desc,city.asc.nullsfirst,x")], page_limit=10)
    assert question.order == (Ordering("amount", True), Ordering("city", False, True), Ordering("x"))


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ([("limit", "11")], LimitTooLarge),
        ([("limit", "99999999999999999")], LimitTooLarge),
        ([("limit", "0")], BadParameter),
        ([("limit", "-1")], BadParameter),
        ([("limit", "1e3")], BadParameter),
        ([("limit", "１")], BadParameter),  # noqa: RUF001 - a full-width digit is the case
        ([("limit", "3"), ("limit", "4")], RepeatedParameter),
        ([("select", "")], BadParameter),
        ([("select", "a,,b")], BadParameter),
        ([("select", "a,a")], BadParameter),
        ([("order", ".desc")], BadParameter),
        ([("order", "a,a.desc")], BadParameter),
        ([("snapshot", "latest")], BadParameter),
        ([("snapshot", "9" * 30)], BadParameter),
        ([("as_of", "yesterday")], BadParameter),
        ([("as_of", "2026-13-01")], BadParameter),
        ([("snapshot", "1"), ("tag", "t")], BadParameter),
        ([("country", "FR")], UnknownOperator),
        ([("country", "")], UnknownOperator),
        ([("country", "equals.FR")], UnknownOperator),
        ([("country", "is.nil")], UnknownOperator),
        ([("country", "not.FR")], UnknownOperator),
        ([("country", "in.FR")], BadFilter),
        ([("country", "in.()")], BadFilter),
        ([("or", "")], BadFilter),
        ([("or", "(a.eq.1")], BadFilter),
        ([("or", "(a.eq.1))")], BadFilter),
        ([("or", "(a)")], BadFilter),
        ([("or", "(" * 50)], BadFilter),
        ([("or", "(" + "or(" * 9 + "a.eq.1" + ")" * 10)], BadFilter),
        ([("or", '("a.eq.1)')], BadFilter),
        ([("a", "eq.1")] * 101, BadFilter),
        ([("a", f"in.({','.join('1' * 1001)})")], BadFilter),
        ([("a", "eq." + "x" * 9000)], BadParameter),
    ],
)
def test_what_can_not_be_understood_is_told(parameters: list[tuple[str, str]], problem: type[Problem]) -> None:
    with pytest.raises(problem) as caught:
        parse_question(parameters, page_limit=10)
    assert caught.value.hint
    assert caught.value.status in {400, 422}
