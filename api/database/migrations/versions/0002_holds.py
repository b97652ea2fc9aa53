"""What a user holds while a job runs: deadlines, keys, webhooks, dead letters, retention."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = (
    "webhook_attempts",
    "webhook_secrets",
    "webhook_deliveries",
    "idempotency_keys",
    "webhook_endpoints",
    "api_keys",
)
_PAGE_INDEX = "ix_jobs_owner_model_state_created_at_id"
_COLUMNS: tuple[sa.Column[Any], ...] = (
    sa.Column("lane", sa.Text()),
    sa.Column("start_by", sa.Double()),
    sa.Column("cancel_at", sa.Double()),
    sa.Column("retry_of", sa.Text()),
    sa.Column("reused_from", sa.Text()),
    sa.Column("reuse_key", sa.Text()),
    sa.Column("webhook", sa.Text()),
    sa.Column("webhook_events", sa.Text()),
    sa.Column("dead_letter", sa.Text()),
    sa.Column("removed_at", sa.Double()),
)
_INDEXES = {
    "ix_jobs_cancel_at": (["cancel_at"], "cancel_at IS NOT NULL AND completed_at IS NULL"),
    "ix_jobs_dead": (["owner", "completed_at", "id"], "dead_letter = 'waiting'"),
    "ix_jobs_kept": (["completed_at", "id"], "completed_at IS NOT NULL AND removed_at IS NULL"),
    "ix_jobs_reusable": (
        ["owner", "reuse_key"],
        "reuse_key IS NOT NULL AND state = 'succeeded' AND removed_at IS NULL",
    ),
    "ix_jobs_stored_input": (["inputs"], 'substr(inputs, 1, 17) = \'{"image":"inputs/\''),
    "ix_jobs_start_by": (["start_by"], "start_by IS NOT NULL AND state = 'starting'"),
    "ix_jobs_waiting": (["owner", "model", "priority"], "state = 'starting'"),
}


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("last_used_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_owner", "api_keys", ["owner"])
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoints"),
    )
    op.create_index(
        "ix_webhook_endpoints_owner_created_at_id",
        "webhook_endpoints",
        ["owner", "created_at", "id"],
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name="fk_idempotency_keys_job_jobs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_index("ix_idempotency_keys_job", "idempotency_keys", ["job"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=True),
        sa.Column("job", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint"],
            ["webhook_endpoints.id"],
            name="fk_webhook_deliveries_endpoint_webhook_endpoints",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name="fk_webhook_deliveries_job_jobs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
    )
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["next_at"],
        postgresql_where=sa.text("next_at IS NOT NULL"),
        sqlite_where=sa.text("next_at IS NOT NULL"),
    )
    op.create_index("ix_webhook_deliveries_endpoint", "webhook_deliveries", ["endpoint"])
    op.create_index("ix_webhook_deliveries_job", "webhook_deliveries", ["job"])
    op.create_index(
        "ix_webhook_deliveries_owner_created_at_id",
        "webhook_deliveries",
        ["owner", "created_at", "id"],
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=True),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["endpoint"],
            ["webhook_endpoints.id"],
            name="fk_webhook_secrets_endpoint_webhook_endpoints",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_secrets"),
    )
    op.create_index("ix_webhook_secrets_endpoint", "webhook_secrets", ["endpoint"])
    op.create_index("ix_webhook_secrets_owner", "webhook_secrets", ["owner"])
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery"],
            ["webhook_deliveries.id"],
            name="fk_webhook_attempts_delivery_webhook_deliveries",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("delivery", "number", name="pk_webhook_attempts"),
    )
    for column in _COLUMNS:
        op.add_column("jobs", column)
    op.create_index("ix_files_created_at", "files", ["created_at"])
    op.create_index("ix_files_key", "files", ["key"])
    op.create_index(_PAGE_INDEX, "jobs", ["owner", "model", "state", "created_at", "id"])
    for name, (columns, rows) in _INDEXES.items():
        where = sa.text(rows)
        op.create_index(name, "jobs", columns, postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table)
    op.drop_index("ix_files_created_at", table_name="files")
    op.drop_index("ix_files_key", table_name="files")
    for name in (_PAGE_INDEX, *_INDEXES):
        op.drop_index(name, table_name="jobs")
    for column in _COLUMNS:
        op.drop_column("jobs", column.name)
