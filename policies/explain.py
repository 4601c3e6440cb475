"""Explains a decision: which rules made it, what they show, and which grant would change it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from catalog.lake import Lake
from catalog.relations import Relation
from catalog.resources import Resource, ResourceNotFound
from infra.errors import Forbidden, Problem
from policies.actions import ACTIONS
from policies.decide import decide
from policies.decision import Decision
from policies.grants import BadGrant, is_admin
from policies.index import PolicyIndex
from policies.principal import Principal


class ExplainRefused(Forbidden):
    code, title = "explain-refused", "Another's rights are not yours to see"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a decision is as it is.

    Args:
        decision: the decision, with the rules that took part as its `reasons`.
        summary: one sentence, for people.
        row_filters: conditions under which a row is shown, one for each view, as Trino's SQL; empty where all are.
        hidden_rows: conditions of denials: a row is shown only where each of them is definitely false.
        masks: column to the masks that its views put on it.
        grant: a grant that would allow the action, as `POST /v1/grants` takes it; None where no grant is missing.
        revoke: ids of the denials that stand in the way.
    """

    decision: Decision
    summary: str
    row_filters: tuple[str, ...]
    hidden_rows: tuple[str, ...]
    masks: dict[str, tuple[str, ...]]
    grant: dict[str, Any] | None
    revoke: tuple[str, ...]


def explain(
    index: PolicyIndex, lake: Lake, by: Principal, *, user: str, action: str, resource: Resource, now: datetime
) -> Explanation:
    """Explains what a user may do with a resource.

    Args:
        index: the policy in force.
        lake: for the columns.
        by: who wants to know: the user, or somebody who may `grant` on the resource, or an administrator.
        user: the name of the user it is about, without `user:`.
        action: a key of `ACTIONS`.
        resource: what it is about.
        now: when.

    Raises:
        ResourceNotFound: it is about somebody else, and the resource is not the caller's to know of.
        ExplainRefused: it is about somebody else, and the caller may not grant on the resource.
        BadGrant: there is no such action.
    """
    if action not in ACTIONS:
        raise BadGrant(f"There is no action {action!r:.40}.", hint=f"Choose from {', '.join(ACTIONS)}.")
    in_charge = _in_charge(index, by, resource, now=now)
    if user != by.name and not in_charge:
        if not decide(index, by, "discover", resource, now=now).known:
            raise ResourceNotFound()
        raise ExplainRefused(
            f"You may not see what others may do with {resource}.",
            hint="Ask about yourself, or ask somebody who holds 'grant' on it.",
        )
    about = Principal(user)
    decision = decide(index, about, action, resource, now=now)
    if decision.allowed:
        decision = decide(index, about, action, resource, _relation(lake, resource), now=now)
    shown = in_charge or (decision.known and decide(index, by, "discover", resource, now=now).known)
    if not shown:  # the same for what there is not, for what is denied, and for what the token is not for
        decision = Decision(action, resource, about.subject, False, False, index.version)
    revoke = _in_the_way(index, decision, now=now) if shown else ()
    return Explanation(
        decision=decision,
        summary=_summary(index, decision, revoke),
        row_filters=tuple(_sql(view.row_filter) for view in decision.views if view.row_filter is not None),
        hidden_rows=tuple(_sql(condition) for condition in decision.hidden_rows),
        masks=_masks(decision),
        grant=_missing(decision),
        revoke=revoke,
    )


def _in_charge(index: PolicyIndex, by: Principal, resource: Resource, *, now: datetime) -> bool:
    if by.scope is None and is_admin(index, by):
        return True
    return decide(index, by, "grant", resource, now=now).allowed


def _relation(lake: Lake, resource: Resource) -> Relation | None:
    if resource.kind not in {"table", "file"}:
        return None
    try:
        return lake.relation(resource)
    except Problem:  # not there yet, or unreadable now: the rules hold all the same
        return None


def _summary(index: PolicyIndex, decision: Decision, revoke: tuple[str, ...]) -> str:
    what = f"{decision.action} on {decision.resource}"
    user = index.user(decision.principal.removeprefix("user:"))
    if user is not None and user.disabled:
        return f"{decision.principal} is disabled and may do nothing."
    if revoke:
        return f"A denial keeps {decision.principal} from {what}."
    if not decision.allowed:
        return f"No grant in force gives {decision.principal} {what}."
    if decision.views and not decision.unrestricted:
        return f"{decision.principal} has {what}, for a part of it."
    return f"{decision.principal} has {what}."


def _masks(decision: Decision) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for view in decision.views:
        for column, mask in view.columns.items():
            if mask is not None:
                found.setdefault(column, {})[mask] = None
    return {column: tuple(masks) for column, masks in found.items()}


def _missing(decision: Decision) -> dict[str, Any] | None:
    if decision.allowed or any(reason.effect == "allow" for reason in decision.reasons):
        return None
    actions = [*ACTIONS[decision.action].needs, decision.action]
    return {"principal": decision.principal, "resource": str(decision.resource), "actions": actions}


def _in_the_way(index: PolicyIndex, decision: Decision, *, now: datetime) -> tuple[str, ...]:
    user = index.user(decision.principal.removeprefix("user:"))
    rules = () if user is None else index.rules_for(user, decision.resource)
    return tuple(rule.id for rule in rules if rule.in_force(now) and rule.denies and decision.action in rule.concerns)


def _sql(condition: Any) -> str:
    return str(condition.sql(dialect="trino"))
