"""Operations that wait until somebody lets them begin, with what is needed to begin them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("operations", sa.Column("held", sa.JSON(none_as_null=True), nullable=True))
