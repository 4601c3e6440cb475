"""The audit record of one HTTP request, built while the request is answered."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from policies.audit.log import AuditLog
from policies.audit.record import Intent, Outcome
from policies.decision import Decision
from policies.principal import Principal
from sql.access import Access, Reading


@dataclass(slots=True)
class RequestTrail:
    """Implements `sql.access.Trail` over the audit log.

    Whoever is about to show or change something records it first: the governed way before it reads, a unit of work
    before it writes; for all else the middleware, before the first byte of the answer.

    Args:
        audit: the log.
        request_id, method, url, body, content_type: of the request.
        kept: whether what the request began outlives it, and records its end itself.
    """

    audit: AuditLog
    request_id: str
    method: str
    url: str
    body: bytes = b""
    content_type: str = ""
    door: str = "api"
    principal: Principal | None = None
    rows: int = 0
    code: str | None = None
    kept: bool = False
    _decisions: list[Decision] = field(default_factory=list)
    _sequences: list[int] = field(default_factory=list)
    _started: float = field(default_factory=time.perf_counter)

    @property
    def recorded(self) -> bool:
        """Whether an intent is durable."""
        return bool(self._sequences)

    def follow_up(self, door: str) -> RequestTrail:
        """A record of its own, of the same request, for work that goes on after the answer; whoever does it ends it."""
        return RequestTrail(
            self.audit,
            self.request_id,
            self.method,
            self.url,
            self.body,
            self.content_type,
            door=door,
            principal=self.principal,
        )

    def decided(self, decision: Decision) -> None:
        """Notes a decision, allowed or not."""
        self._decisions.append(decision)

    def refused(self, code: str) -> None:
        """Notes the problem that the request ends with."""
        self.code = code

    def reading(self, *readings: Reading) -> None:
        """Records what is about to be read; returns once that is durable, or raises AuditUnavailable."""
        self._sequences += self.audit.intents(
            [
                self._intent(
                    action=reading.action,
                    resources=reading.resources,
                    snapshots=reading.snapshots,
                    columns=reading.columns,
                    row_filters=reading.row_filters,
                    masks=reading.masks,
                    grants=reading.grants,
                    policy_version=reading.policy_version,
                    sql_asked=reading.sql_asked,
                    sql_run=reading.sql_run,
                    parameters=reading.parameters,
                )
                for reading in readings
            ]
        )

    def changing(self) -> None:
        """Records what is about to be changed; returns once that is durable, or raises AuditUnavailable."""
        self._sequences.append(self.audit.intent(self._intent_from_decisions()))

    def returned(self, rows: int) -> None:
        """Adds to the number of rows that left."""
        self.rows += rows

    async def record(self) -> None:
        """Records a request that nobody has recorded yet, without blocking the event loop."""
        if not self.recorded:
            await run_in_threadpool(self.changing)

    def end(self, status: int, bytes_sent: int) -> None:
        """Records how the request ended, soon."""
        elapsed = (time.perf_counter() - self._started) * 1000
        for sequence in self._sequences:
            self.audit.outcome(
                Outcome(
                    intent=sequence,
                    request_id=self.request_id,
                    status=status,
                    rows=self.rows,
                    bytes_sent=bytes_sent,
                    duration_ms=elapsed,
                    code=self.code,
                )
            )

    def _intent_from_decisions(self) -> Intent:
        last = self._decisions[-1] if self._decisions else None
        return self._intent(
            action=last.action if last else None,
            resources=tuple(dict.fromkeys(str(decision.resource) for decision in self._decisions)),
            grants=tuple(dict.fromkeys(r.grant_id for decision in self._decisions for r in decision.reasons)),
            policy_version=last.policy_version if last else None,
        )

    def _intent(self, **members: object) -> Intent:
        principal = self.principal
        return Intent(
            request_id=self.request_id,
            door=self.door,
            method=self.method,
            url=self.url,
            decision="deny" if self.code else "allow",
            code=self.code,
            principal=principal.subject if principal else None,
            authenticated_by=principal.authenticated_by if principal else None,
            token_id=principal.token_id if principal else None,
            body=self.body or None,
            content_type=self.content_type,
            **members,  # type: ignore[arg-type] # the callers above name fields of Intent
        )


@dataclass(slots=True)
class HttpAccess(Access):
    """A request on its way through, over HTTP."""

    trail: RequestTrail

    def enter(self, door: str) -> None:
        """Says through which door the request goes; until then it is `api`."""
        self.door = self.trail.door = door
