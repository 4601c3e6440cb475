"""Text, regular expressions and bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from sql import types
from sql.functions.function import Build, Fails, Function
from sql.functions.templates import LONGEST, checked, error, fill, literal
from sql.types import TypeMismatch

# What Trino's trim removes.
SPACES: Final = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \u1680\u2000\u2001\u2002\u2003\u2004"
    "\u2005\u2006\u2008\u2009\u200a\u2028\u2029\u205f\u3000"
)

_WIDEST: Final = 10_000  # characters that a text is padded to


def _trim(side: str) -> Function:
    examples = {
        "trim": ("trim('  ab\t')", "ab"),
        "ltrim": ("ltrim('  ab ')", "ab "),
        "rtrim": ("rtrim(' ab  ')", " ab"),
    }

    def build(arguments: Sequence[exp.Expr]) -> exp.Expr:
        characters = arguments[1] if len(arguments) > 1 else exp.Literal.string(SPACES)
        return exp.Anonymous(this=side, expressions=[arguments[0], characters])

    more = (("trim(BOTH 'x' FROM 'xxabx')", "ab"),) if side == "trim" else ()
    return Function(
        f"{side}(string varchar, characters varchar?) -> varchar", build, (examples[side], *more), total=True
    )


def concat(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """`a || b || …`: null where any of them is, as DuckDB's own concat is not."""
    joined = arguments[0]
    for argument in arguments[1:]:
        joined = fill("_1 || _2", [joined, argument])
    return joined


def _substring(arguments: Sequence[exp.Expr]) -> exp.Expr:
    plain = fill("substring(_1, _2, _3)", arguments)
    start = arguments[1]
    if isinstance(start, exp.Literal) and int(start.name) > 0:
        return plain
    return fill("CASE WHEN _2 = 0 OR -_2 > length(_1) THEN '' ELSE _3 END", [arguments[0], start, plain])


def _pad(name: str) -> Function:
    def build(arguments: Sequence[exp.Expr]) -> exp.Expr:
        misfit = fill(f"_1 < 0 OR _1 > {_WIDEST}", [arguments[1]])
        size = checked(arguments[1], misfit, "INVALID_FUNCTION_ARGUMENT", "a text is not padded to that length")
        return fill(f"{name}(_1, CAST(_2 AS INTEGER), _3)", [arguments[0], size, arguments[2]])

    example = {"lpad": "xyabc", "rpad": "abcxy"}[name]
    return Function(
        f"{name}(string varchar, size number, padding varchar) -> varchar",
        build,
        ((f"{name}('abc', 5, 'xy')", example), (f"{name}('abc', 2, 'x')", "ab")),
        note=f"At most {_WIDEST:,} characters.",
    )


def _growing(form: str, parts: Sequence[exp.Expr]) -> exp.Expr:
    """A form that puts the third part in many places of the first: not where the text would be too long."""
    long = fill(f"length(_1) * length(_3) > {LONGEST}", parts)
    text = checked(parts[0], long, "EXCEEDED_MEMORY_LIMIT", "a text is too long")
    return fill(form, [text, *parts[1:]])


def _replace(arguments: Sequence[exp.Expr]) -> exp.Expr:
    if len(arguments) == 2:
        return fill("replace(_1, _2, '')", arguments)
    short = isinstance(arguments[2], exp.Literal) and len(arguments[2].name) < 2
    return fill("replace(_1, _2, _3)", arguments) if short else _growing("replace(_1, _2, _3)", arguments)


def pattern(node: exp.Expr) -> exp.Expr:
    """A regular expression that both dialects read alike.

    Raises:
        TypeMismatch: not a literal, or one with look-around, back-references or possessive quantifiers.
    """
    text = literal(node, "A regular expression")
    if re.search(r"\(\?(?:=|!|<=|<!|>)|(?<!\\)(?:\\\\)*\\[1-9kGZ]|[*+?}]\+", text):
        raise TypeMismatch(
            "The regular expression needs look-around, back-references or possessive quantifiers.",
            hint="Write it without them: the embedded engine matches in linear time.",
        )
    text = re.sub(r"\(\?<(?![=!])", "(?P<", text)
    return exp.Literal.string(text)


def _replacement(node: exp.Expr) -> exp.Expr:
    """Trino's `_1` and `\\x` as DuckDB's `\\1` and `x`."""
    text = literal(node, "A replacement")
    out = re.sub(r"\\(.)|\$(\d)|\\$", lambda m: m[1].replace("\\", r"\\") if m[1] else rf"\{m[2]}", text)
    return exp.Literal.string(out)


def _regexp_like(arguments: Sequence[exp.Expr]) -> exp.Expr:
    return fill("regexp_matches(_1, _2)", [arguments[0], pattern(arguments[1])])


def _regexp_extract(arguments: Sequence[exp.Expr]) -> exp.Expr:
    group = arguments[2] if len(arguments) > 2 else exp.Literal.number(0)
    form = "CASE WHEN regexp_matches(_1, _2) THEN regexp_extract(_1, _2, _3) END"
    return fill(form, [arguments[0], pattern(arguments[1]), exp.Literal.number(literal(group, "A group"))])


def _regexp_all(name: str) -> Build:
    def build(arguments: Sequence[exp.Expr]) -> exp.Expr:
        rest = [exp.Literal.number(literal(group, "A group")) for group in arguments[2:]]
        return fill(name, [arguments[0], pattern(arguments[1]), *rest])

    return build


def _regexp_replace(arguments: Sequence[exp.Expr]) -> exp.Expr:
    replacement = _replacement(arguments[2]) if len(arguments) > 2 else exp.Literal.string("")
    parts = [arguments[0], pattern(arguments[1]), replacement]
    form = "regexp_replace(_1, _2, _3, 'g')"
    return fill(form, parts) if len(replacement.name) < 2 else _growing(form, parts)


def _split(arguments: Sequence[exp.Expr]) -> exp.Expr:
    if len(arguments) == 2:
        return fill("string_split(_1, _2)", arguments)
    limit = int(literal(arguments[2], "A limit"))
    if limit < 1:
        return error("INVALID_FUNCTION_ARGUMENT", "the limit must be positive")
    return fill(
        f"CASE WHEN len(string_split(_1, _2)) <= {limit} THEN string_split(_1, _2) ELSE list_concat("
        f"string_split(_1, _2)[1:{limit - 1}], [array_to_string(string_split(_1, _2)[{limit}:], _2)]) END",
        arguments,
    )


def _length(arguments: Sequence[exp.Expr]) -> exp.Expr:
    return fill(
        "octet_length(_1)" if types.kind(types.type_of(arguments[0])) == "varbinary" else "length(_1)", arguments
    )


def _reverse(arguments: Sequence[exp.Expr]) -> exp.Expr:
    return fill("list_reverse(_1)" if types.kind(types.type_of(arguments[0])) == "array" else "reverse(_1)", arguments)


def _concat(arguments: Sequence[exp.Expr]) -> exp.Expr:
    if types.kind(types.type_of(arguments[0])) == "array":
        joined = arguments[0]
        for argument in arguments[1:]:
            joined = fill("list_concat(_1, _2)", [joined, argument])
        return joined
    return concat(arguments)


def _concat_ws(arguments: Sequence[exp.Expr]) -> exp.Expr:
    if len(arguments) == 2 and types.kind(types.type_of(arguments[1])) == "array":
        return fill("array_to_string(_2, _1)", arguments)
    return fill("concat_ws(_all)", arguments)


TEXT: Final[tuple[Function, ...]] = (
    Function("length(string varchar|varbinary) -> bigint", _length, (("length('héé')", 3),), total=True),
    Function("lower(string varchar) -> varchar", "lower(_1)", (("lower('ÀB')", "àb"),), total=True),
    Function("upper(string varchar) -> varchar", "upper(_1)", (("upper('àb')", "ÀB"),), total=True),
    Function("reverse(x T) -> T", _reverse, (("reverse('abc')", "cba"), ("reverse(ARRAY[1, 2])", [2, 1])), total=True),
    _trim("trim"),
    _trim("ltrim"),
    _trim("rtrim"),
    Function(
        "concat(x varchar|array, y varchar|array...) -> unknown",
        _concat,
        (("concat('a', 'b', 'c')", "abc"), ("concat('a', NULL)", None), ("concat(ARRAY[1], ARRAY[2])", [1, 2])),
    ),
    Function(
        "concat_ws(separator varchar, x varchar|array...) -> varchar",
        _concat_ws,
        (("concat_ws(',', 'a', NULL, 'b')", "a,b"), ("concat_ws('-', ARRAY['a', 'b'])", "a-b")),
    ),
    Function(
        "substring(string varchar, start number, length number?) -> varchar",
        _substring,
        (
            ("substring('hello', 2)", "ello"),
            ("substring('hello', 2, 3)", "ell"),
            ("substring('hello', -3, 2)", "ll"),
            ("substring('hello', 0, 2)", ""),
            ("substring('hello', -9)", ""),
            ("substring('hello' FROM 2 FOR 2)", "el"),
        ),
        aliases=("substr",),
        total=True,
    ),
    Function(
        "strpos(string varchar, substring varchar) -> bigint",
        "instr(_1, _2)",
        (("strpos('abcabc', 'c')", 3), ("strpos('abc', 'x')", 0), ("position('b' IN 'abc')", 2)),
        total=True,
    ),
    Function(
        "starts_with(string varchar, start varchar) -> boolean",
        "starts_with(_1, _2)",
        (("starts_with('abc', 'ab')", True),),
        total=True,
    ),
    Function(
        "replace(string varchar, search varchar, replacement varchar?) -> varchar",
        _replace,
        (("replace('abcabc', 'b', 'xx')", "axxcaxxc"), ("replace('abc', 'b')", "ac")),
    ),
    Function(
        "translate(string varchar, from varchar, to varchar) -> varchar",
        "translate(_1, _2, _3)",
        (("translate('abcd', 'ab', 'x')", "xcd"),),
        total=True,
    ),
    _pad("lpad"),
    _pad("rpad"),
    Function(
        "split(string varchar, delimiter varchar, limit literal?) -> array(varchar)",
        _split,
        (("split('a,b,c', ',')", ["a", "b", "c"]), ("split('a,b,c', ',', 2)", ["a", "b,c"])),
    ),
    Function(
        "split_part(string varchar, delimiter varchar, index number) -> varchar",
        "CASE WHEN _3 < 1 THEN error('sluice:INVALID_FUNCTION_ARGUMENT:the index must be positive') "
        "WHEN _3 > len(string_split(_1, _2)) THEN NULL ELSE split_part(_1, _2, CAST(_3 AS INTEGER)) END",
        (
            ("split_part('a,b,c', ',', 2)", "b"),
            ("split_part('a,b,c', ',', 5)", None),
            ("split_part('a,b', ',', 0)", Fails("INVALID_FUNCTION_ARGUMENT")),
        ),
    ),
    Function("chr(n number) -> varchar", "chr(CAST(_1 AS INTEGER))", (("chr(233)", "é"),)),
    Function("codepoint(string varchar) -> integer", "unicode(_1)", (("codepoint('é')", 233),)),
    Function(
        "levenshtein_distance(a varchar, b varchar) -> bigint",
        "levenshtein(_1, _2)",
        (("levenshtein_distance('kitten', 'sitting')", 3),),
        total=True,
    ),
    Function(
        "hamming_distance(a varchar, b varchar) -> bigint",
        "CASE WHEN length(_1) <> length(_2) THEN error('sluice:INVALID_FUNCTION_ARGUMENT:the texts differ in length') "
        "ELSE hamming(_1, _2) END",
        (
            ("hamming_distance('karolin', 'kathrin')", 3),
            ("hamming_distance('a', 'ab')", Fails("INVALID_FUNCTION_ARGUMENT")),
        ),
    ),
    Function(
        "normalize(string varchar) -> varchar",
        "nfc_normalize(_1)",
        (("normalize('e\u0301')", "é"),),
        note="NFC only.",
        total=True,
    ),
)

REGEX: Final[tuple[Function, ...]] = (
    Function(
        "regexp_like(string varchar, pattern varchar) -> boolean",
        _regexp_like,
        (("regexp_like('abc1', '[0-9]')", True), ("regexp_like('abc', '^b')", False)),
        total=True,
    ),
    Function(
        "regexp_extract(string varchar, pattern varchar, group number?) -> varchar",
        _regexp_extract,
        (
            ("regexp_extract('ab12', '[0-9]+')", "12"),
            ("regexp_extract('ab12', '([a-z]+)([0-9]+)', 2)", "12"),
            ("regexp_extract('ab', '[0-9]')", None),
        ),
    ),
    Function(
        "regexp_extract_all(string varchar, pattern varchar, group number?) -> array(varchar)",
        _regexp_all("regexp_extract_all(_1, _2, _3)"),
        (
            ("regexp_extract_all('a1b22', '[0-9]+')", ["1", "22"]),
            ("regexp_extract_all('a1b2', '([a-z])([0-9])', 2)", ["1", "2"]),
        ),
    ),
    Function(
        "regexp_replace(string varchar, pattern varchar, replacement varchar?) -> varchar",
        _regexp_replace,
        (
            ("regexp_replace('a1b2', '[0-9]')", "ab"),
            ("regexp_replace('ab', '(a)(b)', '$2$1')", "ba"),
            ("regexp_replace('a.b', '\\.', '\\$')", "a$b"),
        ),
    ),
    Function(
        "regexp_split(string varchar, pattern varchar) -> array(varchar)",
        _regexp_all("regexp_split_to_array(_1, _2)"),
        (("regexp_split('a1b22c', '[0-9]+')", ["a", "b", "c"]),),
    ),
    Function(
        "regexp_count(string varchar, pattern varchar) -> bigint",
        _regexp_all("len(regexp_extract_all(_1, _2))"),
        (("regexp_count('a1b22', '[0-9]')", 3),),
    ),
)

BYTES: Final[tuple[Function, ...]] = (
    Function("to_utf8(string varchar) -> varbinary", "encode(_1)", (("to_utf8('é')", b"\xc3\xa9"),), total=True),
    Function(
        "from_utf8(bytes varbinary) -> varchar",
        "decode(_1)",
        (("from_utf8(to_utf8('é'))", "é"),),
        note="Bytes that are no UTF-8 fail.",
    ),
    Function("to_hex(bytes varbinary) -> varchar", "hex(_1)", (("to_hex(to_utf8('ab'))", "6162"),), total=True),
    Function("from_hex(string varchar) -> varbinary", "unhex(_1)", (("from_hex('6162')", b"ab"),)),
    Function(
        "to_base64(bytes varbinary) -> varchar", "to_base64(_1)", (("to_base64(to_utf8('ab'))", "YWI="),), total=True
    ),
    Function("from_base64(string varchar) -> varbinary", "from_base64(_1)", (("from_base64('YWI=')", b"ab"),)),
    Function(
        "md5(bytes varbinary) -> varbinary",
        "unhex(md5(_1))",
        (("to_hex(md5(to_utf8('a')))", "0CC175B9C0F1B6A831C399E269772661"),),
        total=True,
    ),
    Function(
        "sha1(bytes varbinary) -> varbinary",
        "unhex(sha1(_1))",
        (("to_hex(sha1(to_utf8('a')))", "86F7E437FAA5A7FCE15D1DDCB9EAEAEA377667B8"),),
        total=True,
    ),
    Function(
        "sha256(bytes varbinary) -> varbinary",
        "unhex(sha256(_1))",
        (("to_hex(sha256(to_utf8('a')))", "CA978112CA1BBDCAFAC231B39A23DC4DA786EFF8147C4E72B9807785AFEE48BB"),),
        total=True,
    ),
)
