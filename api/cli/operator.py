"""The local operator: whoever can read the state directory acts as `admin`, and is recorded like any other caller."""

from __future__ import annotations

import secrets
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.errors import Problem, Unavailable

if TYPE_CHECKING:
    from api.installation import Installation
    from policies.principal import Principal


class NotInitialised(Unavailable):
    code, title = "not-initialised", "There is no Sluice here yet"


@dataclass(frozen=True, slots=True)
class Operator:
    """One command at work.

    Args:
        installation: everything that it works with.
        principal: the user `admin`, as the command line acts.
        request_id: the command's, in the audit.
        now: when it started.
    """

    installation: Installation
    principal: Principal
    request_id: str
    now: datetime


@contextmanager
def operating(action: str | None = None, *resources: str) -> Iterator[Operator]:
    """Opens the installation that the settings name, and records the command before and after it runs.

    Args:
        action: what it does, a key of `policies.actions.ACTIONS`, where that fits.
        resources: what it touches, as `kind:name`.

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
    from policies.audit.record import Intent, Outcome
    from policies.principal import Principal

    installation = open_installation(settings)
    try:
        request_id = f"cli-{secrets.token_hex(8)}"
        principal = Principal("admin", roles=("admin",), authenticated_by="cli")
        started = time.perf_counter()
        sequence = installation.audit.intent(
            Intent(
                request_id=request_id,
                door="cli",
                method="CLI",
                url=shlex.join(["sluice", *sys.argv[1:]]),
                decision="allow",
                principal=principal.subject,
                authenticated_by="cli",
                action=action,
                resources=resources,
            )
        )
        status, code = 1, None
        try:
            yield Operator(installation, principal, request_id, datetime.now(UTC))
            status = 0
        except Problem as problem:
            code = problem.code
            raise
        finally:
            elapsed = (time.perf_counter() - started) * 1000
            installation.audit.outcome(
                Outcome(intent=sequence, request_id=request_id, status=status, code=code, duration_ms=elapsed)
            )
    finally:
        installation.close()
