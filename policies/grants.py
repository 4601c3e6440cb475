"""Grants: given, listed and taken away in one unit of work with Casbin's rules and the policy version."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from catalog.lake import Lake
from catalog.relations import Relation
from catalog.resources import Resource, clip
from infra.errors import Forbidden, Invalid, NotFound, Problem
from infra.schema import CasbinRule, Grant, Role, User
from policies.actions import ACTIONS
from policies.index import PolicyIndex, Rule
from policies.masks import MASKS
from policies.patterns import Pattern, parse_pattern
from policies.principal import Principal
from policies.roles import ADMIN
from policies.row_filters import columns_of, parse_row_filter
from policies.version import bump


class BadGrant(Invalid):
    code, title = "bad-grant", "The grant does not fit"


class MaskRefused(Invalid):
    code, title = "mask-refused", "The mask does not fit its column"


class GrantNotFound(NotFound):
    code, title = "grant-not-found", "There is no such grant"


class DelegationRefused(Forbidden):
    code, title = "delegation-refused", "That is more than you may pass on"


@dataclass(frozen=True, slots=True)
class Asked:
    """A grant as it is asked for.

    Args:
        principal: `user:alice` or `role:analyst`.
        resource: a pattern.
        actions: keys of `ACTIONS`.
        effect: `allow` or `deny`.
        columns: the only columns shown (or, denied, hidden); None for all.
        row_filter: Trino SQL, see `policies.row_filters`.
        masks: column to a key of `MASKS`.
        expires_at: when it ends by itself.
        reason: for people and the audit.
    """

    principal: str
    resource: str
    actions: Sequence[str]
    effect: str = "allow"
    columns: Sequence[str] | None = None
    row_filter: str | None = None
    masks: Mapping[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None
    reason: str = ""


def create_grant(
    session: Session, lake: Lake, index: PolicyIndex, granter: Principal, asked: Asked, *, now: datetime
) -> Grant:
    """Gives a grant.

    Args:
        session: the unit of work.
        lake: for the columns that the grant names.
        index: the policy that says what the granter holds.
        granter: who gives it.
        asked: what.
        now: when.

    Raises:
        BadPattern, BadGrant, RowFilterRefused, MaskRefused: it doesn't fit; nothing is changed.
        DelegationRefused: the granter does not hold it.
    """
    bump(session)
    pattern = parse_pattern(asked.resource)
    _check_words(session, asked, pattern, now)
    _check_delegation(index, granter, pattern, asked, now)
    relations = _relations(lake, pattern)
    bindings = {relation.uuid: _check_columns(asked, relation) for relation in relations if relation.uuid}
    for relation in relations:
        if not relation.uuid:
            _check_columns(asked, relation)
    if asked.row_filter is not None and not relations:
        parse_row_filter(asked.row_filter, None)
    grant = Grant(
        id=secrets.token_hex(12),
        principal=asked.principal,
        resource=str(pattern),
        actions=sorted(set(asked.actions)),
        effect=asked.effect,
        columns=None if asked.columns is None else list(asked.columns),
        row_filter=asked.row_filter,
        masks=dict(asked.masks),
        bindings=bindings,
        expires_at=asked.expires_at,
        reason=asked.reason,
        granted_by=granter.subject,
        created_at=now,
    )
    session.add(grant)
    until = "" if asked.expires_at is None else repr(asked.expires_at.timestamp())
    if asked.effect == "allow" or (asked.columns is None and asked.row_filter is None):
        # A denial of some columns or rows narrows what is shown; only a whole one denies the action.
        session.add_all(
            CasbinRule(
                ptype="p", v0=grant.principal, v1=grant.resource, v2=action, v3=grant.effect, v4=until, v5=grant.id
            )
            for action in grant.actions
        )
    session.flush()
    return grant


def revoke_grant(session: Session, index: PolicyIndex, revoker: Principal, grant_id: str, *, now: datetime) -> Grant:
    """Takes a grant away: by who gave it, by whoever may grant on all of its resource, or by an administrator.

    Raises:
        GrantNotFound: there is none, or it is not the revoker's to take away: the same answer.
    """
    bump(session)
    grant = session.get(Grant, grant_id)
    if grant is None or not (
        ADMIN in revoker.roles
        or grant.granted_by == revoker.subject
        or _holds(index, revoker, "grant", parse_pattern(grant.resource), now)
    ):
        raise GrantNotFound(f"There is no grant {clip(grant_id)}.", hint="GET /v1/grants lists grants.")
    session.execute(delete(CasbinRule).where(CasbinRule.ptype == "p", CasbinRule.v5 == grant_id))
    session.delete(grant)
    session.flush()
    return grant


def list_grants(
    session: Session, *, principal: str | None = None, resource: str | None = None, after: str = "", limit: int = 100
) -> Sequence[Grant]:
    """Grants by id, at most `limit`, the first of them after the id `after`."""
    wanted = select(Grant).where(Grant.id > after).order_by(Grant.id).limit(limit)
    if principal is not None:
        wanted = wanted.where(Grant.principal == principal)
    if resource is not None:
        wanted = wanted.where(Grant.resource == resource)
    return session.scalars(wanted).all()


def bind_table(session: Session, lake: Lake, table: Resource) -> None:
    """Ties the grants whose patterns name a new table to its field ids, so that later renames change nothing."""
    relation = lake.relation(table)
    by_name = {column.name: column.field_id for column in relation.columns}
    changed = False
    for grant in session.scalars(select(Grant)):
        names = _names(grant.columns, grant.row_filter, grant.masks or {})
        bound = {name: by_name[name] for name in names if name in by_name}
        if bound and parse_pattern(grant.resource).matches(table) and relation.uuid not in (grant.bindings or {}):
            grant.bindings = {**(grant.bindings or {}), relation.uuid: bound}
            changed = True
    if changed:
        bump(session)


def _check_words(session: Session, asked: Asked, pattern: Pattern, now: datetime) -> None:
    kind, _, name = asked.principal.partition(":")
    if kind not in {"user", "role"} or session.get(User if kind == "user" else Role, name) is None:
        raise BadGrant(
            f"There is no principal {clip(asked.principal)}.",
            hint="Write user:NAME or role:NAME of one that exists.",
            parameter="principal",
        )
    unknown = [action for action in asked.actions if action not in ACTIONS]
    if unknown or not asked.actions:
        raise BadGrant(
            f"{clip(unknown[0])} is no action." if unknown else "A grant needs an action.",
            hint=f"Choose from {', '.join(ACTIONS)}.",
            parameter="actions",
        )
    if asked.effect not in {"allow", "deny"}:
        raise BadGrant(f"{clip(asked.effect)} is no effect.", hint="Write allow or deny.", parameter="effect")
    if asked.expires_at is not None and asked.expires_at <= now:
        raise BadGrant("The grant would have ended already.", hint="Give a later time.", parameter="expires_at")
    restricted = asked.columns is not None or asked.row_filter is not None or bool(asked.masks)
    if restricted and pattern.kind not in {"table", "file"}:
        raise BadGrant("Only tables and files have columns and rows.", hint="Leave the restrictions out.")
    if asked.effect == "allow":
        for action in asked.actions:
            for needed in ACTIONS[action].needs:
                if needed not in asked.actions:
                    raise BadGrant(
                        f"{action} needs {needed} in the same grant, so that its restrictions hold for both.",
                        hint=f"Add {needed} to the actions.",
                        parameter="actions",
                    )
    elif asked.masks or (asked.columns is not None and asked.row_filter is not None):
        raise BadGrant(
            "A denial hides columns or hides rows; it has no masks.", hint="Write two denials, one for each."
        )


def _check_columns(asked: Asked, relation: Relation) -> dict[str, int]:
    """Holds a grant against one relation's columns, and ties their names to field ids."""
    wide = "*" in asked.resource
    by_name = {column.name: column for column in relation.columns}
    names = _names(asked.columns, asked.row_filter, asked.masks)
    missing = [name for name in names if name not in by_name]
    if missing and not wide:
        raise BadGrant(
            f"{relation.resource} has no column {clip(missing[0])}.", hint="Name its own columns, as they are."
        )
    if asked.row_filter is not None and not missing:
        parse_row_filter(asked.row_filter, relation.columns)
    for name, mask in asked.masks.items():
        if mask not in MASKS:
            raise MaskRefused(f"{clip(mask)} is no mask.", hint=f"Choose from {', '.join(MASKS)}.", parameter="masks")
        if name in by_name and not MASKS[mask].fits(by_name[name]):
            fitting = [other.name for other in MASKS.values() if other.fits(by_name[name])]
            raise MaskRefused(
                f"{mask} is not for {name}, a {by_name[name].type}.",
                hint=f"Choose from {', '.join(fitting)}.",
                parameter="masks",
            )
    return {name: by_name[name].field_id for name in names if name in by_name}


def _names(columns: Sequence[str] | None, row_filter: str | None, masks: Mapping[str, str]) -> tuple[str, ...]:
    asked = columns_of(parse_row_filter(row_filter, None)) if row_filter is not None else ()
    return tuple(dict.fromkeys((*(columns or ()), *masks, *asked)))


def _relations(lake: Lake, pattern: Pattern) -> list[Relation]:
    """What the pattern names today. A single one may be absent yet: then names are all there is."""
    if pattern.kind == "table":
        resources = [info.resource for info in lake.tables() if pattern.matches(info.resource)]
    elif pattern.kind == "file" and pattern.exact:
        resources = [Resource("file", pattern.name)]
    else:
        resources = []
    relations = []
    for resource in resources:
        try:
            relations.append(lake.relation(resource))
        except Problem:
            continue  # unreadable today: its names are bound when it is read
    return relations


def _check_delegation(index: PolicyIndex, granter: Principal, pattern: Pattern, asked: Asked, now: datetime) -> None:
    if ADMIN in granter.roles and granter.scope is None:
        return
    if pattern.kind == "server":
        raise DelegationRefused("Only an administrator grants on the server.", hint="Ask an administrator.")
    for action in ("grant", *asked.actions):
        held = _holds(index, granter, action, pattern, now)
        if held is None:
            raise DelegationRefused(
                f"You don't hold {action} on all of {pattern}, without restrictions.",
                hint="Grant what you hold yourself on a resource where you hold 'grant', or ask an administrator.",
            )
        if held.expires_at is not None and (asked.expires_at is None or asked.expires_at > held.expires_at):
            raise DelegationRefused(
                "Your own grant ends before this one would.", hint=f"Let it end by {held.expires_at.isoformat()}."
            )


def _holds(index: PolicyIndex, principal: Principal, action: str, pattern: Pattern, now: datetime) -> Rule | None:
    """A rule that gives the principal an action on everything the pattern names, with no restriction and no denial."""
    live = [rule for rule in index.held(principal.subjects) if rule.expires_at is None or rule.expires_at > now]
    if principal.scope is not None:
        return None
    if any(not rule.allow and rule.pattern.overlaps(pattern) for rule in live):
        return None
    return next(
        (
            rule
            for rule in live
            if rule.allow
            and action in rule.actions
            and rule.pattern.covers(pattern)
            and rule.columns is None
            and rule.row_filter is None
            and not rule.masks
        ),
        None,
    )
