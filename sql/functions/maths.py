"""Numbers."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from sqlglot import exp

from sql import types
from sql.functions.function import Build, Function
from sql.functions.templates import fill
from sql.types import TypeMismatch


def _double(name: str, lowered: str, call: str, value: float, *, total: bool = False) -> Function:
    return Function(f"{name}(x number) -> double", lowered, ((call, value),), total=total)


def _power(arguments: Sequence[exp.Expr]) -> exp.Expr:
    return fill("power(CAST(_1 AS DOUBLE), CAST(_2 AS DOUBLE))", arguments)


def _exact(arguments: Sequence[exp.Expr]) -> bool:
    return types.is_decimal(types.type_of(arguments[0]))


def _whole_type(arguments: Sequence[exp.Expr]) -> exp.DataType:
    """Of `ceiling` and `floor`, and of `round` without digits: one digit more, since 9.5 may become 10."""
    of = types.type_of(arguments[0])
    precision, scale = types.digits(of)
    return types.decimal(precision - scale + min(scale, 1), 0) if types.is_decimal(of) else of


def _round_type(arguments: Sequence[exp.Expr]) -> exp.DataType:
    of = types.type_of(arguments[0])
    if len(arguments) == 1 or not types.is_decimal(of):
        return _whole_type(arguments)
    precision, scale = types.digits(of)
    return types.decimal(precision + 1, scale)


def _truncate_type(arguments: Sequence[exp.Expr]) -> exp.DataType:
    """Whole numbers are decimals here, as they are for Trino."""
    of = types.type_of(arguments[0])
    if not types.is_decimal(of) and not types.is_integer(of):
        return of
    precision, scale = types.digits(of)
    return types.decimal(max(precision - scale, 1), 0) if len(arguments) == 1 else types.decimal(precision, scale)


def _sign_type(arguments: Sequence[exp.Expr]) -> exp.DataType:
    return types.decimal(1, 0) if _exact(arguments) else types.type_of(arguments[0])


def _whole(form: str) -> Build:
    def build(arguments: Sequence[exp.Expr]) -> exp.Expr:
        if types.is_integer(types.type_of(arguments[0])):
            return arguments[0]
        made = fill(form, arguments)
        return exp.cast(made, _whole_type(arguments)) if _exact(arguments) else made

    return build


def _round(arguments: Sequence[exp.Expr]) -> exp.Expr:
    of = types.type_of(arguments[0])
    if len(arguments) == 1:
        return _whole("round(_1)")(arguments)
    form = "round(_1, CAST(_2 AS INTEGER))"
    if not _exact(arguments):
        made = fill(form, arguments)
        return exp.cast(made, of) if types.is_integer(of) else made
    result = _round_type(arguments)
    return exp.cast(fill(form, [exp.cast(arguments[0], result), arguments[1]]), result)


def _truncate(arguments: Sequence[exp.Expr]) -> exp.Expr:
    of, result = types.type_of(arguments[0]), _truncate_type(arguments)
    if len(arguments) == 1:
        made = fill("trunc(_1)", arguments)
        return made if result is of else exp.cast(made, result)
    if types.is_float(of):
        raise TypeMismatch("truncate takes digits for decimals only.", hint="CAST the number to a decimal.")
    digits = _literal(arguments[1])
    precision, scale = types.digits(result)
    value = exp.cast(arguments[0], result)
    if digits >= scale:
        return value
    if -digits >= precision - scale:
        return exp.cast(fill("_1 - _1", [value]), result)
    unit = exp.cast(exp.Literal.string(f"{Decimal(1).scaleb(-digits):f}"), result)
    return exp.cast(fill("_1 - _1 % _2", [value, unit]), result)


def _literal(argument: exp.Expr) -> int:
    number = argument.this if isinstance(argument, exp.Neg) else argument
    if not isinstance(number, exp.Literal) or number.is_string or not number.name.isdecimal():
        raise TypeMismatch("How many digits has to be a literal.", hint="Write truncate(x, 2).")
    return -int(number.name) if isinstance(argument, exp.Neg) else int(number.name)


def _sign(arguments: Sequence[exp.Expr]) -> exp.Expr:
    of = _sign_type(arguments)
    made = fill("sign(_1)", arguments)
    return exp.cast(made, of) if types.kind(of) == "number" else made


def _mod_type(arguments: Sequence[exp.Expr]) -> exp.DataType:
    return types.arithmetic(exp.Mod, types.type_of(arguments[0]), types.type_of(arguments[1]))


def _bits(name: str, lowered: str, call: str, value: int) -> Function:
    signature = f"{name}(x number) -> bigint" if name == "bitwise_not" else f"{name}(x number, y number) -> bigint"
    return Function(signature, lowered, ((call, value),))


ROWS: Final[tuple[Function, ...]] = (
    Function("abs(x T) -> T", "abs(_1)", (("abs(-2)", 2), ("abs(-2.5)", Decimal("2.5")))),
    Function(
        "ceiling(x number) -> unknown",
        _whole("ceil(_1)"),
        (("ceiling(1.2e0)", 2.0), ("ceiling(9.5)", Decimal(10)), ("ceiling(7)", 7)),
        ("ceil",),
    ),
    Function(
        "floor(x number) -> unknown",
        _whole("floor(_1)"),
        (("floor(-1.2e0)", -2.0), ("floor(-1.2)", Decimal(-2)), ("floor(7)", 7)),
    ),
    Function(
        "round(x number, digits number?) -> unknown",
        _round,
        (
            ("round(2.5e0)", 3.0),
            ("round(-2.5e0)", -3.0),
            ("round(2.345e0, 1)", 2.3),
            ("round(2.345, 2)", Decimal("2.350")),
            ("round(2.345)", Decimal(2)),
            ("round(99.99, 1)", Decimal("100.00")),
            ("round(7)", 7),
            ("round(157, -1)", 160),
        ),
    ),
    Function(
        "truncate(x number, digits number?) -> unknown",
        _truncate,
        (
            ("truncate(-1.57e0)", -1.0),
            ("truncate(1.57)", Decimal(1)),
            ("truncate(-1.57, 1)", Decimal("-1.50")),
            ("truncate(12345678901234567890.123456789, 5)", Decimal("12345678901234567890.123450000")),
            ("truncate(99.99, -1)", Decimal("90.00")),
            ("truncate(99.99, -3)", Decimal("0.00")),
            ("truncate(7)", Decimal(7)),
        ),
        note="Digits are a literal.",
    ),
    Function(
        "sign(x number) -> unknown", _sign, (("sign(-2)", -1), ("sign(-2.5e0)", -1.0), ("sign(-2.5)", Decimal(-1)))
    ),
    Function("mod(x number, y number) -> unknown", "_1 % _2", (("mod(-7, 3)", -1),)),
    Function("power(x number, y number) -> double", _power, (("power(2, 10)", 1024.0),), ("pow",)),
    _double(
        "sqrt",
        "CASE WHEN CAST(_1 AS DOUBLE) < 0 THEN CAST('nan' AS DOUBLE) ELSE sqrt(CAST(_1 AS DOUBLE)) END",
        "sqrt(16)",
        4.0,
        total=True,
    ),
    _double("cbrt", "cbrt(CAST(_1 AS DOUBLE))", "cbrt(27)", 3.0, total=True),
    _double("exp", "exp(CAST(_1 AS DOUBLE))", "exp(0)", 1.0, total=True),
    _double(
        "ln",
        "CASE WHEN CAST(_1 AS DOUBLE) < 0 THEN CAST('nan' AS DOUBLE) "
        "WHEN CAST(_1 AS DOUBLE) = 0 THEN CAST('-inf' AS DOUBLE) "
        "ELSE ln(CAST(_1 AS DOUBLE)) END",
        "ln(1)",
        0.0,
        total=True,
    ),
    _double("log2", "log2(CAST(_1 AS DOUBLE))", "log2(8)", 3.0),
    _double("log10", "log10(CAST(_1 AS DOUBLE))", "log10(1000)", 3.0),
    Function(
        "log(base number, x number) -> double", "ln(CAST(_2 AS DOUBLE)) / ln(CAST(_1 AS DOUBLE))", (("log(2, 8)", 3.0),)
    ),
    Function("pi() -> double", "pi()", (("pi()", 3.141592653589793),), total=True),
    Function("e() -> double", "exp(CAST(1 AS DOUBLE))", (("e()", 2.718281828459045),), total=True),
    _double("degrees", "degrees(CAST(_1 AS DOUBLE))", "degrees(pi())", 180.0, total=True),
    _double("radians", "radians(CAST(_1 AS DOUBLE))", "radians(180)", 3.141592653589793, total=True),
    _double("sin", "sin(CAST(_1 AS DOUBLE))", "sin(0)", 0.0),
    _double("cos", "cos(CAST(_1 AS DOUBLE))", "cos(0)", 1.0),
    _double("tan", "tan(CAST(_1 AS DOUBLE))", "tan(0)", 0.0),
    _double("asin", "asin(CAST(_1 AS DOUBLE))", "asin(0)", 0.0),
    _double("acos", "acos(CAST(_1 AS DOUBLE))", "acos(1)", 0.0),
    _double("atan", "atan(CAST(_1 AS DOUBLE))", "atan(0)", 0.0),
    Function(
        "atan2(y number, x number) -> double",
        "atan2(CAST(_1 AS DOUBLE), CAST(_2 AS DOUBLE))",
        (("atan2(0, 1)", 0.0),),
        total=True,
    ),
    _double("sinh", "sinh(CAST(_1 AS DOUBLE))", "sinh(0)", 0.0, total=True),
    _double("cosh", "cosh(CAST(_1 AS DOUBLE))", "cosh(0)", 1.0, total=True),
    _double("tanh", "tanh(CAST(_1 AS DOUBLE))", "tanh(0)", 0.0, total=True),
    Function("nan() -> double", "CAST('nan' AS DOUBLE)", (("is_nan(nan())", True),), total=True),
    Function("infinity() -> double", "CAST('inf' AS DOUBLE)", (("infinity()", float("inf")),), total=True),
    Function("is_nan(x number) -> boolean", "isnan(CAST(_1 AS DOUBLE))", (("is_nan(1e0)", False),), total=True),
    Function(
        "is_finite(x number) -> boolean", "isfinite(CAST(_1 AS DOUBLE))", (("is_finite(1e0 / 0)", False),), total=True
    ),
    Function(
        "is_infinite(x number) -> boolean", "isinf(CAST(_1 AS DOUBLE))", (("is_infinite(1e0 / 0)", True),), total=True
    ),
    Function(
        "width_bucket(x number, low number, high number, buckets number) -> bigint",
        "CASE WHEN CAST(_1 AS DOUBLE) < _2 THEN 0 WHEN CAST(_1 AS DOUBLE) >= _3 THEN _4 + 1 "
        "ELSE CAST(floor((CAST(_1 AS DOUBLE) - _2) * _4 / (_3 - _2)) AS BIGINT) + 1 END",
        (("width_bucket(3.5e0, 0, 10, 5)", 2), ("width_bucket(10e0, 0, 10, 5)", 6)),
    ),
    _bits("bitwise_and", "CAST(_1 AS BIGINT) & CAST(_2 AS BIGINT)", "bitwise_and(6, 3)", 2),
    _bits("bitwise_or", "CAST(_1 AS BIGINT) | CAST(_2 AS BIGINT)", "bitwise_or(6, 3)", 7),
    _bits("bitwise_xor", "xor(CAST(_1 AS BIGINT), CAST(_2 AS BIGINT))", "bitwise_xor(6, 3)", 5),
    _bits("bitwise_not", "-CAST(_1 AS BIGINT) - 1", "bitwise_not(5)", -6),
    Function(
        "bit_count(x number, bits literal) -> bigint",
        "CAST(bit_count(CAST(_1 AS BIGINT)) AS BIGINT)",
        (("bit_count(7, 64)", 3),),
        note="64 bits only.",
    ),
    Function(
        "from_base(text varchar, radix number) -> bigint",
        "CASE WHEN _2 = 16 THEN CAST('0x' || _1 AS BIGINT) WHEN _2 = 2 THEN CAST('0b' || _1 AS BIGINT) "
        "WHEN _2 = 10 THEN CAST(_1 AS BIGINT) "
        "ELSE error('sluice:NOT_SUPPORTED:from_base takes 2, 10 or 16 here') END",
        (("from_base('ff', 16)", 255), ("from_base('101', 2)", 5)),
        note="Radix 2, 10 or 16.",
    ),
    Function(
        "to_base(x number, radix number) -> varchar",
        "lower(to_base(CAST(_1 AS BIGINT), CAST(_2 AS INTEGER)))",
        (("to_base(255, 16)", "ff"),),
    ),
    Function("random() -> double", "random()", (("random() < 1", True),), ("rand",)),
)


RESULTS: Final = {
    "ceiling": _whole_type,
    "floor": _whole_type,
    "round": _round_type,
    "truncate": _truncate_type,
    "sign": _sign_type,
    "mod": _mod_type,
}
