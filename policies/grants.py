"""Grants: given, listed and taken away in one unit of work with Casbin's rules and the policy version."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from catalog.lake import Lake
from catalog.relations import Relation
from catalog.resources import Resource, clip
from infra.errors import Forbidden, Invalid, NotFound, Problem
from infra.schema import CasbinRule, Grant, Role, User
from policies.actions import ACTIONS
from policies.index import PolicyIndex, Rule, build_index
from policies.masks import MASKS
from policies.patterns import Pattern, parse_pattern
from policies.principal import Principal
from policies.roles import ADMIN
from policies.row_filters import bind_row_filter, parse_row_filter
from policies.version import bump

_FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)


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
        DelegationRefused: the granter does not hold it. Told first, so that it tells nothing about what there is.
        BadPattern, BadGrant, RowFilterRefused, MaskRefused: it doesn't fit; nothing is changed.
    """
    index = _just_before(session, index)
    pattern = parse_pattern(asked.resource)
    check_delegation(index, granter, pattern, asked, now)
    _check_words(session, asked, pattern, now)
    named = asked.columns is not None or asked.row_filter is not None or bool(asked.masks)
    relations = _relations(lake, pattern) if named else []
    _check_names(asked, pattern, relations)
    grant = Grant(
        id=secrets.token_hex(12),
        principal=asked.principal,
        resource=str(pattern),
        actions=sorted(set(asked.actions)),
        effect=asked.effect,
        columns=None if asked.columns is None else list(asked.columns),
        row_filter=asked.row_filter,
        masks=dict(asked.masks),
        bindings={relation.uuid: _check_columns(asked, relation) for relation in relations},
        expires_at=asked.expires_at,
        reason=asked.reason,
        granted_by=granter.subject,
        created_at=now,
    )
    grant.bindings.pop("", None)  # files have no field ids
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
    """Takes a grant away: by who gave it, by whoever could give it, or by an administrator.

    Raises:
        GrantNotFound: there is none, or it is not the revoker's to take away: the same answer.
    """
    index = _just_before(session, index)
    grant = session.get(Grant, grant_id)
    if grant is None or not _may_revoke(index, revoker, grant, now):
        raise GrantNotFound(f"There is no grant {clip(grant_id)}.", hint="GET /v1/grants lists grants.")
    session.execute(delete(CasbinRule).where(CasbinRule.ptype == "p", CasbinRule.v5 == grant_id))
    session.delete(grant)
    session.flush()
    return grant


def _just_before(session: Session, index: PolicyIndex) -> PolicyIndex:
    """The policy that this change is made on. Locks it: the granter's own rights can't go away in between."""
    version = bump(session)
    return index if index.version == version - 1 else build_index(session)


def _may_revoke(index: PolicyIndex, revoker: Principal, grant: Grant, now: datetime) -> bool:
    scope = revoker.scope
    if scope is not None and scope.actions is not None and "grant" not in scope.actions:
        return False
    pattern = parse_pattern(grant.resource)
    if scope is not None and scope.resources is not None:
        covered = any(parse_pattern(text).covers(pattern) for text in scope.resources)
        if not covered:
            return False
    if is_admin(index, revoker) or grant.granted_by == revoker.subject:
        return True
    if grant.effect != "allow":
        return False  # else whoever is denied something could undo it
    return all(_holds(index, revoker, action, pattern, now) for action in ("grant", *grant.actions))


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
    if asked.columns is not None and not asked.columns:
        raise BadGrant("An empty list has no column.", hint="Leave `columns` out for all of them.", parameter="columns")
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


def _check_names(asked: Asked, pattern: Pattern, relations: Sequence[Relation]) -> None:
    """Every name has to be a column's of some table that there is: a mask on a mistyped one would protect nothing."""
    row_filter = None if asked.row_filter is None else parse_row_filter(asked.row_filter)
    for mask in asked.masks.values():
        if mask not in MASKS:
            raise MaskRefused(f"{clip(mask)} is no mask.", hint=f"Choose from {', '.join(MASKS)}.", parameter="masks")
    known = {column.name for relation in relations for column in relation.columns}
    places = (("columns", asked.columns or ()), ("masks", asked.masks))
    for parameter, names in (*places, ("row_filter", row_filter.columns if row_filter else ())):
        for name in names:
            if relations and name not in known:
                close = get_close_matches(name, known, 1)
                raise BadGrant(
                    f"{pattern} has no column {clip(name)}.",
                    hint=f"Did you mean {close[0]}?" if close else "Name its own columns, as they are.",
                    parameter=parameter,
                )


def _check_columns(asked: Asked, relation: Relation) -> dict[str, int]:
    """Holds a grant against one relation's columns, and ties their names to field ids."""
    by_name = {column.name: column for column in relation.columns}
    names = _names(asked.columns, asked.row_filter, asked.masks)
    if asked.row_filter is not None:
        row_filter = parse_row_filter(asked.row_filter)
        if by_name.keys() >= set(row_filter.columns):
            bind_row_filter(row_filter, by_name, "", {})
    for name, mask in asked.masks.items():
        if name in by_name and not MASKS[mask].fits(by_name[name]):
            fitting = [other.name for other in MASKS.values() if other.fits(by_name[name])]
            kind = f"{'required ' if by_name[name].required else ''}{by_name[name].type}"
            raise MaskRefused(
                f"{mask} is not for {clip(name)}, a {kind}.",
                hint=f"Choose from {', '.join(fitting)}." if fitting else "Leave the column out of `columns`.",
                parameter="masks",
            )
    return {name: by_name[name].field_id for name in names if name in by_name}


def _names(columns: Sequence[str] | None, row_filter: str | None, masks: Mapping[str, str]) -> tuple[str, ...]:
    asked = parse_row_filter(row_filter).columns if row_filter is not None else ()
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


def is_admin(index: PolicyIndex, principal: Principal) -> bool:
    """Whether the role `admin` is held today."""
    user = index.user(principal.name)
    return user is not None and not user.disabled and ADMIN in user.roles


def check_delegation(index: PolicyIndex, granter: Principal, pattern: Pattern, asked: Asked, now: datetime) -> None:
    """Raises DelegationRefused where a granter would give more than they hold."""
    if granter.scope is None and is_admin(index, granter):
        return
    if pattern.kind == "server" or asked.effect != "allow":
        raise DelegationRefused(
            "Only an administrator denies, and grants on the server.", hint="Ask an administrator.", action="grant"
        )
    for action in ("grant", *asked.actions):
        held = _holds(index, granter, action, pattern, now)
        if not held:
            raise DelegationRefused(
                f"You don't hold {clip(action)} on all of {pattern}, without restrictions.",
                hint="Grant what you hold yourself on a resource where you hold 'grant', or ask an administrator.",
            )
        ends = max((rule.expires_at or _FOR_EVER for rule in held), default=_FOR_EVER)
        if ends < _FOR_EVER and (asked.expires_at is None or asked.expires_at > ends):
            raise DelegationRefused(
                "Your own grant ends before this one would.", hint=f"Let it end by {ends.isoformat()}."
            )


def _holds(index: PolicyIndex, principal: Principal, action: str, pattern: Pattern, now: datetime) -> list[Rule]:
    """The rules that give the principal an action on everything the pattern names, with no restriction; none where
    anything of it is denied to them, or where their token is narrowed."""
    user = index.user(principal.name)
    if principal.scope is not None or user is None or user.disabled:
        return []
    live = [rule for rule in index.held(user.subjects) if rule.in_force(now)]
    if any(not rule.allow and rule.pattern.overlaps(pattern) for rule in live):
        return []
    return [
        rule
        for rule in live
        if rule.allow and not rule.restricted and action in rule.concerns and rule.pattern.covers(pattern)
    ]
