"""Who is asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# What a user attribute may be: a typed literal, or several of one type.
Attribute = str | int | float | bool | tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token was narrowed to when it was made; it never adds anything.

    Args:
        actions: the only actions it may be used for; None for all of the user's.
        resources: the only resource patterns; None for all.
    """

    actions: frozenset[str] | None = None
    resources: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """A user as one request knows them.

    Args:
        name: the user's name, without `user:`.
        roles: names of the roles held, directly or through other roles.
        attributes: for row filters.
        authenticated_by: `token`, `oidc`, `password` or `cli`.
        token_id: the token used, where one was.
        scope: what that token was narrowed to.
    """

    name: str
    roles: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict, hash=False, compare=False)
    authenticated_by: str = "token"
    token_id: str | None = None
    scope: Scope | None = None

    @property
    def subject(self) -> str:
        """As rules name them: `user:alice`."""
        return f"user:{self.name}"

    @property
    def subjects(self) -> tuple[str, ...]:
        """The user and every role held, as rules name them."""
        return (self.subject, *(f"role:{role}" for role in self.roles))
