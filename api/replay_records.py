"""What the audit is told of replays: that their rows were read, and, in a record of its own, how their proof went."""

from __future__ import annotations

from typing import Any, cast

import orjson

from api.trail import RequestTrail
from infra.operations import OperationStatus
from pipeline.replay.proof import Report
from policies.audit.log import AuditLog
from policies.principal import Principal
from sql.access import Access


class ReplayRecords:
    """Implements `pipeline.replay.replays.Records` over the audit log."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    def reading(self, principal: Principal, request_id: str, request: dict[str, Any]) -> Access:
        """A record of its own, of the request by which a replay was asked for that waited for an approval."""
        trail = RequestTrail(
            self._audit,
            request_id,
            "POST",
            "/v1/replays",
            body=orjson.dumps(request),
            content_type="application/json",
            door="replay",
            principal=principal,
        )
        return Access(principal, "replay", request_id, trail)

    def ended(self, access: Access, status: int) -> None:
        """The rows were read, or the reading was refused with this HTTP status."""
        cast(RequestTrail, access.trail).end(status, 0)

    def proven(self, status: OperationStatus, report: Report) -> None:
        """The report, without what names single rows: those stand in the operation's result."""
        short = {name: value for name, value in report.items() if name != "sample"}
        owner = Principal(status.owner.removeprefix("user:"), authenticated_by="operation")
        trail = RequestTrail(
            self._audit,
            status.id,
            "PROOF",
            f"/v1/replays/{status.id}",
            body=orjson.dumps(short),
            content_type="application/json",
            door="replay",
            principal=owner,
        )
        trail.changing()
        trail.end(200, 0)
