"""What scalers decided, and what was changed of the scaling while it ran."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "scaling_settings",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
    )
    op.create_table(
        "scaling_decisions",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("scaler", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("before", sa.Integer(), nullable=False),
        sa.Column("after", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("applied", sa.Boolean(), nullable=False),
        sa.Column("alert", sa.Text(), nullable=False),
    )
    op.create_index("ix_scaling_decisions_at_id", "scaling_decisions", ["at", "id"])
    op.create_index("ix_scaling_decisions_model_at_id", "scaling_decisions", ["model", "at", "id"])


def downgrade() -> None:
    op.drop_table("scaling_decisions")
    op.drop_table("scaling_settings")
