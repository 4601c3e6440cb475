"""The demo's models: trained once everything else answers, so that there is something to look at in MLflow."""

from __future__ import annotations

import secrets
from typing import Final

from api.installation import Installation
from api.trail import RequestTrail
from policies.principal import Principal
from policies.roles import ADMIN
from sql.access import Access
from training.trainings import Asked

RECIPES: Final = ("transaction_status", "anomaly")


def train_models(installation: Installation) -> None:
    """Starts the trainings where there are no models yet; they run on as any other training does."""
    if installation.models.all():
        return
    principal = Principal(ADMIN, roles=(ADMIN,), authenticated_by="cli")
    for recipe in RECIPES:
        _start(installation, principal, recipe)


def _start(installation: Installation, principal: Principal, recipe: str) -> None:
    trail = RequestTrail(
        installation.audit, f"demo-{secrets.token_hex(8)}", "CLI", "sluice demo", door="training", principal=principal
    )
    access = Access(principal, "training", trail.request_id, trail)
    installation.trainings.start(access, Asked(recipe), ended=lambda well: trail.end(0 if well else 1, 0))
