"""Runs of evaluation suites."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "suite_run",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("suite", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("options", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("progress", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suite_run")),
    )
    op.create_index(op.f("ix_suite_run_state"), "suite_run", ["state"], unique=False)
    op.create_index(
        "ix_suite_run_suite_created_at", "suite_run", ["suite", "created_at"], unique=False
    )
    op.create_table(
        "trial_run",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("suite", sa.String(), nullable=False),
        sa.Column("case", sa.String(), nullable=False),
        sa.Column("control", sa.String(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("grades", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("trajectory", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("played", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("detected_s", sa.Double(), nullable=True),
        sa.Column("recovered_s", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["suite_run.id"], name=op.f("fk_trial_run_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trial_run")),
    )
    op.create_index(op.f("ix_trial_run_run_id"), "trial_run", ["run_id"], unique=False)
    op.create_index(
        "ix_trial_run_suite_case_seed", "trial_run", ["suite", "case", "seed"], unique=False
    )
