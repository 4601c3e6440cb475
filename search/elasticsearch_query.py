"""Expressions in Elasticsearch's query language. Every leaf is a filter: nothing scores, nothing is analysed."""

from __future__ import annotations

import re
from typing import Any, Final

from search import expression

_EXPANSIONS: Final = 1024  # words that one near word may stand for
_DOCUMENT: Final[dict[str, Any]] = {"exists": {"field": "file"}}  # a state is none


def lowered(part: expression.Expression) -> dict[str, Any]:  # noqa: PLR0911, PLR0912 - one branch a kind of expression
    """The query of an expression."""
    match part:
        case expression.Always():
            return _DOCUMENT
        case expression.Never():
            return {"match_none": {}}
        case expression.From(resources):
            return {"terms": {"resource": list(resources)}}
        case expression.Word(columns, (word,)):
            return {"terms": {"words": [f"{column}:{word}" for column in columns]}}
        case expression.Word(columns, words):
            return _any(
                [{"match_phrase": {"words": " ".join(f"{column}:{word}" for word in words)}} for column in columns]
            )
        case expression.WordStart(columns, start):
            return _any([{"prefix": {"words": {"value": f"{column}:{start}"}}} for column in columns])
        case expression.NearWord(columns, word):
            return _any([_near(column, word) for column in columns])
        case expression.Fact(facts):
            return {"terms": {"facts": list(facts)}}
        case expression.FactRange(column):
            return {"range": {"facts": _ends(part)}}
        case expression.FactLike(column, pattern):
            wildcard = "".join(
                "*" if each is None else "?" * each if isinstance(each, int) else re.sub(r"([*?\\])", r"\\\1", each)
                for each in pattern
            )
            return {"wildcard": {"facts": {"value": f"{column}={wildcard}"}}}
        case expression.Between(start, end):
            ends = {"gte": start, "lt": end}
            return {"range": {"time": {name: value for name, value in ends.items() if value is not None}}}
        case expression.And(parts):
            return {"bool": {"filter": [lowered(each) for each in parts]}}
        case expression.Or(parts):
            return _any([lowered(each) for each in parts])
        case expression.Not(inner):
            return {"bool": {"filter": [_DOCUMENT], "must_not": [lowered(inner)]}}


def _ends(part: expression.FactRange) -> dict[str, str]:
    """Facts of one column lie together: an open end is that of the column's facts."""
    low = {"gte": f"{part.column}="} if part.low is None else {_name("gt", part.with_low): f"{part.column}={part.low}"}
    high = (
        {"lt": f"{part.column}>"}  # the character after `=`
        if part.high is None
        else {_name("lt", part.with_high): f"{part.column}={part.high}"}
    )
    return low | high


def _name(bound: str, included: bool) -> str:
    return f"{bound}e" if included else bound


def _near(column: str, word: str) -> dict[str, Any]:
    return {
        "fuzzy": {
            "words": {
                "value": f"{column}:{word}",
                "fuzziness": 1,
                "prefix_length": len(column) + 1,  # another column's words are never near
                "max_expansions": _EXPANSIONS,
                "rewrite": "constant_score",
            }
        }
    }


def _any(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return parts[0] if len(parts) == 1 else {"bool": {"should": parts, "minimum_should_match": 1}}
