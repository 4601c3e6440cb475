"""What of Trino's questions is recorded: each table that a query reads, before Trino may read it, and each refusal."""

from __future__ import annotations

import secrets
from threading import Lock
from typing import Final

from policies.audit.log import AuditLog
from policies.audit.record import Intent
from sql.canaries import CANARY_POLICY
from sql.opa.authority import Verdict
from sql.opa.operations import OPERATIONS
from sql.opa.question import Question

DOOR: Final = "trino"
ASKED: Final = "OPA"  # the method of such a record
_REMEMBERED: Final = 10_000


class VerdictRecorder:
    """Writes verdicts into the audit, each once: Trino asks the same several times for one query.

    Args:
        audit: the log.
    """

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._lock = Lock()
        self._recorded: dict[tuple[object, ...], None] = {}

    def record(self, question: Question, verdict: Verdict) -> None:
        """Makes the record durable where the verdict is worth one.

        Raises:
            AuditUnavailable: it can't be recorded, so Trino gets no answer and the query fails.
        """
        if question.user in CANARY_POLICY.names:
            return  # nothing of the lake's is read
        operation = OPERATIONS.get(question.operation)
        if (verdict.allowed or (operation is not None and operation.filters)) and verdict.table is None:
            return
        key = (question.query_id, question.user, question.operation, verdict)
        with self._lock:
            if question.query_id is not None and key in self._recorded:
                return
        self._audit.intent(_intent(question, verdict))
        with self._lock:
            if len(self._recorded) >= _REMEMBERED:
                self._recorded.clear()
            self._recorded[key] = None


def _intent(question: Question, verdict: Verdict) -> Intent:
    table = () if verdict.table is None else (str(verdict.table),)
    decision = verdict.decision
    return Intent(
        request_id=question.query_id or secrets.token_hex(12),
        door=DOOR,
        method=ASKED,
        url=question.operation,
        decision="allow" if verdict.allowed else "deny",
        code=None if verdict.allowed else "not-allowed",
        principal=f"user:{question.user}",
        authenticated_by=DOOR,
        action="read" if verdict.table is not None else None,
        resources=table,
        columns=verdict.columns,
        row_filters={name: (verdict.row_filter,) for name in table if verdict.row_filter is not None},
        masks={name: verdict.masked for name in table if verdict.masked},
        grants=() if decision is None else tuple(reason.grant_id for reason in decision.reasons),
        policy_version=None if decision is None else decision.policy_version,
    )
