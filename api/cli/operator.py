"""The local operator: whoever can read the state directory acts as `admin`, and is recorded like any other caller."""

from __future__ import annotations

import secrets
import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.errors import Problem, Unavailable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from api.installation import Installation
    from api.trail import RequestTrail
    from policies.principal import Principal
    from sql.access import Access


class NotInitialised(Unavailable):
    code, title = "not-initialised", "There is no Sluice here yet"


@dataclass(frozen=True, slots=True)
class Operator:
    """One command at work.

    Args:
        installation: everything that it works with.
        principal: as whom the command acts.
        trail: the command's audit record.
        now: when it started.
    """

    installation: Installation
    principal: Principal
    trail: RequestTrail
    now: datetime

    @property
    def access(self) -> Access:
        """For the governed way to data."""
        from sql.access import Access

        return Access(self.principal, "cli", self.trail.request_id, self.trail)

    def following(self, door: str) -> Access:
        """For work that goes on in the background, with a record of its own that whoever does it ends."""
        from sql.access import Access

        trail = self.trail.follow_up(door)
        return Access(self.principal, door, trail.request_id, trail)

    def changing(self) -> AbstractContextManager[Session]:
        """One unit of work that is recorded before it begins."""
        return self.installation.changing(self.trail)


@contextmanager
def operating(user: str = "admin") -> Iterator[Operator]:
    """Opens the installation that the settings name, and sees to it that the command is recorded.

    What changes or reads data is recorded before it does; all else when the block ends. So print afterwards.

    Args:
        user: as whom to act.

    Raises:
        NotInitialised: `sluice init` was not run here.
        AuditUnavailable: the command can't be recorded, so it is not run.
    """
    from infra.settings import load

    settings = load()
    if not settings.secret.exists():
        raise NotInitialised(
            "The state directory holds no installation.",
            hint="Run sluice init first, or point SLUICE_STATE_DIR at the directory where you did.",
        )

    from api.installation import open_installation
    from api.trail import RequestTrail
    from policies.principal import Principal

    installation = open_installation(settings)
    try:
        known = installation.policies.current().user(user)
        principal = Principal(user, roles=known.roles if known else (), authenticated_by="cli")
        command = shlex.join(["sluice", *sys.argv[1:]])
        request_id = f"cli-{secrets.token_hex(8)}"
        trail = RequestTrail(installation.audit, request_id, "CLI", command, door="cli", principal=principal)
        status = 1
        try:
            yield Operator(installation, principal, trail, datetime.now(UTC))
            status = 0
        except Problem as problem:
            trail.refused(problem.code)
            raise
        finally:
            if not trail.recorded:
                trail.changing()
            trail.end(status, 0)
    finally:
        installation.close()
