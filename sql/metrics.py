"""Metrics: one SQL file each in `catalog/metrics`, asked like any other SQL, under the caller's policies.

A file starts with comment lines that hold TOML: a title, a description, the parameters and the columns. The query
below uses a parameter as the placeholder `:name`; a `duration` parameter gives the two ends of a window that ends now,
`:name_start` and `:name_end`.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any, Final

from catalog.resources import clip
from infra.errors import Invalid, NotFound
from sql.query import SqlQuestion

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class MetricNotFound(NotFound):
    code, title = "metric-not-found", "There is no such metric"


class BadMetricParameter(Invalid):
    code, title = "bad-metric-parameter", "A metric's parameter does not fit"


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a caller may set.

    Args:
        name: as in the query string.
        type: `integer` or `duration` (a number and s, m, h or d).
        description: for the docs and the OpenAPI document.
        min, max: the least and the greatest value.
        default: where the caller sets none; a duration without one covers all time until now.
    """

    name: str
    type: str
    description: str
    min: str | int
    max: str | int
    default: str | int | None = None

    @property
    def expected(self) -> str:
        form = "a whole number" if self.type == "integer" else "a number followed by s, m, h or d"
        return f"{form}, from {self.min} to {self.max}"

    def parse(self, text: str) -> int | timedelta:
        """A value of this parameter. Raises ValueError where the text is none."""
        read = _integer if self.type == "integer" else _duration
        value = read(text)
        if not read(str(self.min)) <= value <= read(str(self.max)):  # type: ignore[operator] # both of one type
            raise ValueError(text)
        return value


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric.

    Args:
        name: its file's name, and the last part of its URL.
        title, description: for people.
        parameters: what a caller may set, by name.
        columns: of the answer, in order, each with what it means.
        sql: the query, in Trino's dialect.
    """

    name: str
    title: str
    description: str
    parameters: Mapping[str, Parameter]
    columns: Mapping[str, str]
    sql: str


@dataclass(frozen=True, slots=True)
class Window:
    """From `start`, included (None: from the beginning), to `end`, left out."""

    start: datetime | None
    end: datetime


@dataclass(frozen=True, slots=True)
class MetricQuestion:
    """A metric with its parameters settled.

    Args:
        metric: which one.
        parameters: as the caller set them, or their defaults.
        window: what a duration came to by the one clock of the request.
        question: to be asked of the door.
    """

    metric: Metric
    parameters: Mapping[str, str | int | None]
    window: Window | None
    question: SqlQuestion


def ask(name: str, given: Mapping[str, str], now: datetime) -> MetricQuestion:
    """Settles what a caller asks of a metric.

    Args:
        name: the metric's.
        given: parameters as text.
        now: the time of the request, the only clock that a window goes by.

    Returns:
        The question.

    Raises:
        MetricNotFound: no file has that name.
        BadMetricParameter: a parameter is unknown, or its value does not fit.
    """
    if (metric := METRICS.get(name)) is None:
        near = difflib.get_close_matches(name, METRICS, 1)
        raise MetricNotFound(
            f"There is no metric {clip(name)}.",
            hint=f"Did you mean {near[0]}?" if near else f"There are {', '.join(METRICS)}.",
        )
    if unknown := next((parameter for parameter in given if parameter not in metric.parameters), None):
        near = difflib.get_close_matches(unknown, metric.parameters, 1)
        raise BadMetricParameter(
            f"The metric {name} has no parameter {clip(unknown)}.",
            hint=f"Did you mean {near[0]}?" if near else f"It has {' and '.join(metric.parameters)}.",
            parameter=clip(unknown)[1:-1],
            expected=" or ".join(metric.parameters),
        )
    settled: dict[str, str | int | None] = {}
    values: dict[str, str | int | float | bool | datetime | None] = {}
    window = None
    for parameter in metric.parameters.values():
        value = _value(parameter, given)
        settled[parameter.name] = given.get(parameter.name, parameter.default)
        if parameter.type == "duration":
            window = Window(now - value if isinstance(value, timedelta) else None, now)
            values |= {f"{parameter.name}_start": window.start or _EPOCH, f"{parameter.name}_end": window.end}
        elif isinstance(value, int):
            settled[parameter.name] = values[parameter.name] = value
    return MetricQuestion(metric, settled, window, SqlQuestion(metric.sql, values))


def _value(parameter: Parameter, given: Mapping[str, str]) -> int | timedelta | None:
    text = given.get(parameter.name, parameter.default)
    if text is None:
        return None
    try:
        return parameter.parse(str(text))
    except ValueError as error:
        raise BadMetricParameter(
            f"{parameter.name}={clip(str(text))} does not fit: expected {parameter.expected}.",
            hint=f"For example {parameter.name}={parameter.default or parameter.max}.",
            parameter=parameter.name,
            expected=parameter.expected,
        ) from error


def _integer(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(text)
    return int(text)


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,8})([smhd])", text)
    if match is None:
        raise ValueError(text)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def load_metric(name: str, text: str) -> Metric:
    """Reads a metric's file.

    Raises:
        ValueError: its header is no TOML, or lacks something.
    """
    lines = text.splitlines()
    length = next(place for place, line in enumerate(lines) if not line.startswith("--"))
    header: dict[str, Any] = tomllib.loads("\n".join(line[3:] for line in lines[:length]))
    try:
        return Metric(
            name=name,
            title=header["title"],
            description=header["description"],
            parameters={key: Parameter(name=key, **fields) for key, fields in header.get("parameters", {}).items()},
            columns=header["columns"],
            sql="\n".join(lines[length:]).strip(),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the header of the metric {name} is not complete: {error}") from error


# One row a file of `catalog/metrics`.
METRICS: Final[dict[str, Metric]] = {
    path.name.removesuffix(".sql"): load_metric(path.name.removesuffix(".sql"), path.read_text(encoding="utf-8"))
    for path in sorted((files("catalog") / "metrics").iterdir(), key=lambda path: path.name)
    if path.name.endswith(".sql")
}
