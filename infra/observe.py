"""What happens, as typed events; log lines and metrics subscribe. No log call stands in business code.

No event that becomes a metric's label names a user, a table or a file: those would leak through `/metrics`, and grow
without bound. Log lines may name a request id, by which the audit tells the rest.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. A subclass is one kind; its fields are what the log line says."""

    level: str = field(default="info", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFinished(Event):
    """An HTTP request was answered.

    Args:
        request_id: as in the answer's header and in the audit.
        method: the method.
        route: the route's template, never the path that was asked.
        status: the answer's.
        seconds: until the last byte.
        code: the problem's code, where it was one.
        stages: seconds spent in each stage.
    """

    request_id: str
    method: str
    route: str
    status: int
    seconds: float
    code: str | None = None
    stages: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReloaded(Event):
    """The compiled policy was built anew: its version, and how long it took."""

    version: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditWritten(Event):
    """A batch of audit records became durable together."""

    level: str = field(default="debug", repr=False)
    records: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationEnded(Event):
    """Long work ended."""

    operation_id: str
    kind: str
    state: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFollowed(Event):
    """The indexer looked at the lake: how much is not up to date now, and how old the oldest of that is."""

    level: str = field(default="debug", repr=False)
    behind: int
    lag_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """Something broke that should not: the answer was a 500, or a thread in the background went on without it.

    Args:
        where: the module or stage.
        error: the exception, for the operator alone.
        request_id: of the request, where there was one.
    """

    level: str = field(default="error", repr=False)
    where: str
    error: BaseException
    request_id: str | None = None


Subscriber = Callable[[Event], None]
_subscribers: list[Subscriber] = []


def observe(event: Event) -> None:
    """Tells every subscriber. Costs next to nothing where there is none, as in most tests."""
    for subscriber in _subscribers:
        subscriber(event)


def subscribe(subscriber: Subscriber) -> Callable[[], None]:
    """Adds a subscriber; it must be quick and may not raise.

    Returns:
        A function that takes it away again.
    """
    _subscribers.append(subscriber)
    return lambda: _subscribers.remove(subscriber)


def log_to_stderr(least: str) -> Subscriber:
    """A subscriber that writes one JSON line an event to stderr.

    Args:
        least: the least level that is written: `debug`, `info`, `warning` or `error`.
    """
    logger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[least]),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )

    def write(event: Event) -> None:
        said = {f.name: getattr(event, f.name) for f in dataclasses.fields(event) if f.name != "level"}
        error = said.pop("error", None)
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
        logger.log(_LEVELS[event.level], name, **said, **({"exc_info": error} if error else {}))

    return write


class Metrics:
    """A subscriber that counts for Prometheus.

    Args:
        registry: what `GET /metrics` shows.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "sluice_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._problems = Counter("sluice_problems", "Problems answered.", ["code"], registry=registry)
        self._seconds = Histogram(
            "sluice_request_seconds", "Time until the last byte.", ["method", "route"], registry=registry
        )
        self._stages = Histogram("sluice_stage_seconds", "Time in a stage.", ["stage"], registry=registry)
        self._policy = Gauge("sluice_policy_version", "Policy version in force.", registry=registry)
        self._reload = Histogram("sluice_policy_reload_seconds", "Time to compile the policy.", registry=registry)
        self._audited = Counter("sluice_audit_records", "Audit records made durable.", registry=registry)
        self._audit = Histogram("sluice_audit_write_seconds", "Time of one durable write.", registry=registry)
        self._operations = Counter("sluice_operations", "Operations ended.", ["kind", "state"], registry=registry)
        self._behind = Gauge("sluice_search_behind", "Tables and files not up to date in search.", registry=registry)
        self._lag = Gauge("sluice_search_lag_seconds", "Age of the oldest version that waits.", registry=registry)
        self._failures = Counter("sluice_failures", "Errors that should not be.", ["where"], registry=registry)

    def __call__(self, event: Event) -> None:
        match event:
            case RequestFinished():
                self._requests.labels(event.method, event.route, str(event.status)).inc()
                self._seconds.labels(event.method, event.route).observe(event.seconds)
                for stage, seconds in event.stages.items():
                    self._stages.labels(stage).observe(seconds)
                if event.code:
                    self._problems.labels(event.code).inc()
            case PolicyReloaded():
                self._policy.set(event.version)
                self._reload.observe(event.seconds)
            case AuditWritten():
                self._audited.inc(event.records)
                self._audit.observe(event.seconds)
            case OperationEnded():
                self._operations.labels(event.kind, event.state).inc()
            case SearchFollowed():
                self._behind.set(event.behind)
                self._lag.set(event.lag_seconds)
            case Failed():
                self._failures.labels(event.where).inc()
