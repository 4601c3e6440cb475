"""POST /v1/access/explain: what somebody may do with a resource, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed
from catalog.resources import Resource, clip
from infra.errors import Invalid
from policies.actions import ACTIONS
from policies.explain import Explanation, explain
from policies.patterns import parse_pattern

router = APIRouter(prefix="/v1/access", tags=["Policies"])


class ExplainIn(BaseModel):
    """A question about rights."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"principal": "user:alice", "action": "read", "resource": "table:raw.transactions"}]
        },
    )
    principal: str = Field(max_length=160, description="Whom it is about, `user:NAME`.")
    action: str = Field(max_length=50, description=f"One of {', '.join(ACTIONS)}.")
    resource: str = Field(max_length=255, description="One resource, `kind:name`, not a pattern.")


class RuleOut(BaseModel):
    """A rule that took part."""

    grant_id: str = Field(description="The grant.")
    principal: str = Field(description="Whom it names.")
    resource: str = Field(description="What it names.")
    effect: str = Field(description="`allow` or `deny`.")
    note: str = Field(description="One sentence, for people.")


class ExplainOut(BaseModel):
    """A decision, explained."""

    principal: str = Field(description="Whom it is about.")
    action: str = Field(description="What was asked for.")
    resource: str = Field(description="Of what.")
    allowed: bool = Field(description="Whether it may be done.")
    summary: str = Field(description="The decision in one sentence.")
    policy_version: int = Field(description="The policy version that decided.")
    rules: list[RuleOut] = Field(description="The rules that made the decision.")
    row_filters: list[str] = Field(description="A row is shown where one of them holds; empty where all rows are.")
    hidden_rows: list[str] = Field(description="Denials: a row is shown only where each of them is certainly false.")
    columns: list[str] = Field(description="The columns shown; empty where the action shows none.")
    masks: dict[str, list[str]] = Field(description="Column to the masks in force.")
    grant: dict[str, Any] | None = Field(description="The grant that would allow it, ready for `POST /v1/grants`.")
    revoke: list[str] = Field(description="Ids of the denials that would have to go.")


class NotOneUser(Invalid):
    code, title = "not-one-user", "The question is about one user"


class NotOneResource(Invalid):
    code, title = "not-one-resource", "The question is about one resource"


@router.post("/explain", operation_id="explain_access", summary="Explain a decision")
async def explain_access(body: ExplainIn, access: Caller, installation: Installed) -> ExplainOut:
    """Says what a user may do with a resource: the decision, the rules that made it, the row filter and masks in
    force, and the grant that would change it. About oneself for everybody; about others for whoever holds `grant` on
    the resource, and administrators.
    """
    kind, _, user = body.principal.partition(":")
    if kind != "user" or not user:
        raise NotOneUser(
            f"{clip(body.principal)} is no user.",
            hint="Write user:NAME. What a role gives shows for each user in it.",
            parameter="principal",
        )
    pattern = parse_pattern(body.resource)
    if not pattern.exact:
        raise NotOneResource(
            f"{clip(body.resource)} names many resources.",
            hint="Name one of them, for example table:raw.transactions.",
            parameter="resource",
        )
    resource = Resource(pattern.kind, pattern.name)

    def work() -> ExplainOut:
        access.trail.changing()  # a POST is recorded before it is done; this one changes nothing
        found = explain(
            installation.policies.current(),
            installation.lake,
            access.principal,
            user=user,
            action=body.action,
            resource=resource,
            now=datetime.now(UTC),
        )
        return _shown(found)

    return await run_in_threadpool(work)


def _shown(found: Explanation) -> ExplainOut:
    decision = found.decision
    return ExplainOut(
        principal=decision.principal,
        action=decision.action,
        resource=str(decision.resource),
        allowed=decision.allowed,
        summary=found.summary,
        policy_version=decision.policy_version,
        rules=[
            RuleOut(
                grant_id=reason.grant_id,
                principal=reason.principal,
                resource=reason.resource,
                effect=reason.effect,
                note=reason.note,
            )
            for reason in decision.reasons
        ],
        row_filters=list(found.row_filters),
        hidden_rows=list(found.hidden_rows),
        columns=list(decision.columns),
        masks={column: list(masks) for column, masks in found.masks.items()},
        grant=found.grant,
        revoke=list(found.revoke),
    )
