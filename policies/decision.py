"""A decision: what one principal may see of one relation, and which rules said so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from catalog.resources import Resource


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule that took part.

    Args:
        grant_id: the grant.
        principal: whom it names, `user:…` or `role:…`.
        resource: its pattern.
        effect: `allow` or `deny`.
        note: one sentence, for people.
    """

    grant_id: str
    principal: str
    resource: str
    effect: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What one allowing grant shows.

    Args:
        grant_id: the grant.
        row_filter: a boolean expression over the relation's columns under their present names, with attributes and
            `current_user` already literals; None where every row is shown.
        columns: each column that is shown, by name, with its mask's name, or None where it is clear.
    """

    grant_id: str
    row_filter: exp.Expr | None
    columns: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one action on one resource.

    Args:
        action, resource, principal: the question (`principal` as `user:…`).
        allowed: whether the action may be done.
        known: whether the principal may know that the resource exists; a False here is answered with 404.
        views: what is shown of a relation; empty where the action shows no rows or is not allowed.
        hidden_rows: filters of denials: a row is hidden unless each of them is definitely false for it.
        policy_version: the version that decided.
        reasons: rules that took part, allowing and denying.
        fingerprint: equal only where views and hidden rows are equal; cursors and caches are bound to it.
    """

    action: str
    resource: Resource
    principal: str
    allowed: bool
    known: bool
    policy_version: int
    views: tuple[View, ...] = ()
    hidden_rows: tuple[exp.Expr, ...] = ()
    reasons: tuple[Reason, ...] = ()
    fingerprint: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that any view shows."""
        return tuple(dict.fromkeys(name for view in self.views for name in view.columns))

    @property
    def masked(self) -> tuple[str, ...]:
        """Names of the columns that are not clear on every row that is shown."""
        return tuple(
            name
            for name in self.columns
            if any(name not in view.columns or view.columns[name] is not None for view in self.views)
            and not any(view.row_filter is None and view.columns.get(name, "") is None for view in self.views)
        )

    @property
    def row_filtered(self) -> bool:
        return bool(self.hidden_rows) or all(view.row_filter is not None for view in self.views)

    @property
    def unrestricted(self) -> bool:
        """Whether the whole relation is shown as it is (given that `columns` are all it has)."""
        return self.allowed and not self.row_filtered and not self.masked
