"""The demo's people: an administrator, an analyst who sees masked French rows, and somebody without any grant."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from api.installation import Installation
from pipeline.transactions import SCHEMA
from policies.grants import Asked, create_grant
from policies.people import UserNotFound, create_user, get_user, update_user
from policies.principal import Principal
from policies.roles import ADMIN, RoleNotFound, create_role, get_role
from policies.tokens import issue

ALICE: Final = "alice"
BOB: Final = "bob"
ANALYST: Final = "analyst"
TABLES: Final = ("table:raw.transactions", "table:curated.transactions")
ROW_FILTER: Final = "country = 'FR'"
MASKS: Final = {
    "user_id": "sha-256-global",  # equal for the same user, so that counting and joining still work
    "user_name": "mask-alphanum",
    "email": "mask-alphanum",
    "ip_address": "show-first-4",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """How the demo's people get in: name to token, and name to password."""

    tokens: dict[str, str]
    passwords: dict[str, str]


def invite(installation: Installation, *, now: datetime) -> Credentials:
    """Makes the people and their grants where they are not there yet, and gives everybody a new password and token.

    Args:
        installation: initialised, with the tables that the grants are about.
        now: when.
    """
    credentials = Credentials({}, {})
    index = installation.policies.current()
    with installation.db.writing() as session:
        for name in (ADMIN, ALICE, BOB):
            password = credentials.passwords[name] = secrets.token_hex(12)  # hex: no name can come up in it
            try:
                get_user(session, name)
                update_user(session, name, password=password)
            except UserNotFound:
                create_user(session, name, now=now, password=password)
            credentials.tokens[name] = issue(session, installation.keys, name, now=now, label="demo").text
        try:
            get_role(session, ANALYST)
        except RoleNotFound:
            create_role(session, ANALYST, now=now, description="Reads French sales.", members=[f"user:{ALICE}"])
            granter = Principal(ADMIN, roles=(ADMIN,), authenticated_by="cli")
            for table in TABLES:
                asked = Asked(
                    principal=f"role:{ANALYST}",
                    resource=table,
                    actions=("read",),
                    columns=tuple(SCHEMA.names),  # not where a row came from in Kafka
                    row_filter=ROW_FILTER,
                    masks=MASKS,
                    reason="Analysts of the French market.",
                )
                create_grant(session, installation.lake, index, granter, asked, now=now)
    return credentials
