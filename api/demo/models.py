"""The demo's models: trained once everything else answers, so that there is something to look at in MLflow."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from api.installation import Installation
from api.trail import RequestTrail
from policies.principal import Principal
from policies.roles import ADMIN
from sql.access import Access
from training.trainings import Asked

RECIPES: Final = ("transaction_status", "anomaly")


def train_models(installation: Installation) -> None:
    """Starts the trainings where there are no models yet; they run on as any other training does.

    One after the other: whoever looks at the demo's first pages meanwhile should hardly notice.
    """
    if not installation.models.all():
        _start(installation, RECIPES)


def _start(installation: Installation, recipes: Sequence[str]) -> None:
    first, *others = recipes
    principal = Principal(ADMIN, roles=(ADMIN,), authenticated_by="cli")
    trail = RequestTrail(
        installation.audit, f"demo-{secrets.token_hex(8)}", "CLI", "sluice demo", door="training", principal=principal
    )

    def ended(well: bool) -> None:
        trail.end(0 if well else 1, 0)
        if well and others:
            _start(installation, others)

    access = Access(principal, "training", trail.request_id, trail)
    installation.trainings.start(access, Asked(first), ended=ended)
