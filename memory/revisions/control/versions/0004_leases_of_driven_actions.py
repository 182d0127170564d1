"""Leases of driven actions."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("action", sa.Column("driver", sa.String(), nullable=True))
    op.add_column(
        "action", sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True)
    )


def downgrade() -> None:
    op.drop_column("action", "lease_expires_at")
    op.drop_column("action", "driver")
