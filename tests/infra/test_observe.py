"""One event, several subscribers: a log line for people, numbers for Prometheus."""

from __future__ import annotations

import json

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from infra.observe import (
    AuditWritten,
    Event,
    Failed,
    Metrics,
    PolicyReloaded,
    RequestFinished,
    log_to_stderr,
    observe,
    subscribe,
)

REQUEST = RequestFinished(
    request_id="r1",
    method="GET",
    route="/v1/tables/{name}/rows",
    status=404,
    seconds=0.01,
    code="resource-not-found",
    stages={"parse": 0.001},
)


def test_subscribers_are_told_until_they_leave() -> None:
    events: list[Event] = []
    leave = subscribe(events.append)
    observe(REQUEST)
    leave()
    observe(REQUEST)
    assert events == [REQUEST]


def test_a_log_line_is_json_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log = log_to_stderr("info")
    log(REQUEST)
    log(AuditWritten(records=1, seconds=0.1))  # debug: below the least level
    out, err = capsys.readouterr()
    assert out == ""
    line = json.loads(err)
    assert line["event"] == "request_finished"
    assert line["level"] == "info"
    assert line["request_id"] == "r1"


def test_an_error_is_logged_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def breaks() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError) as raised:
        breaks()
    log_to_stderr("error")(Failed(where="engine", error=raised.value, request_id="r1"))
    line = json.loads(capsys.readouterr().err)
    assert "RuntimeError: broken" in line["exception"]
    assert line["where"] == "engine"


def test_metrics_count_without_naming_anybody() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics(REQUEST)
    metrics(PolicyReloaded(version=7, seconds=0.01))
    text = generate_latest(metrics.registry).decode()
    assert 'sluice_requests_total{method="GET",route="/v1/tables/{name}/rows",status="404"} 1.0' in text
    assert 'sluice_problems_total{code="resource-not-found"} 1.0' in text
    assert 'sluice_stage_seconds_count{stage="parse"} 1.0' in text
    assert "sluice_policy_version 7.0" in text
    assert "r1" not in text
