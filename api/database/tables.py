"""The ledger's tables. Times are seconds since the epoch, UTC; JSON is kept as text."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    literal_column,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("parameters", Text, nullable=False),  # JSON
    Column("inputs", Text, nullable=False),  # JSON
    Column("version", Text, nullable=False),
    Column("link_token", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("state", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("token", Text),  # of the running attempt; of the winning one once it ended
    Column("progress", Double),
    Column("started_at", Double),
    Column("completed_at", Double),  # null while the job has not ended
    Column("predict_time", Double),
    Column("output", Text),  # JSON
    Column("error", Text),
    Column("error_code", Text),
    Column("logs", Text, nullable=False),
    Column("labels", Text, nullable=False),  # JSON
    Column("metadata", Text, nullable=False),  # JSON
    Column("group_id", Text),
    # Where the log holds the job, as far as is known.
    Column("log_topic", Text),
    Column("log_partition", Integer),
    Column("log_offset", BigInteger),
    Column("appended_at", Double),
    Column("lane", Text),  # the priority whose topic carries it; null: its own
    Column("start_by", Double),  # unstarted then, it is canceled
    Column("cancel_at", Double),  # not ended then, it is canceled
    Column("retry_of", Text),  # the job that this one runs once more
    Column("reused_from", Text),  # the job whose result this one took over
    Column("reuse_key", Text),  # a digest of image, model, version and parameters
    Column("webhook", Text),  # a URL
    Column("webhook_events", Text),  # JSON
    Column("dead_letter", Text),  # waiting, replayed or discarded; null for any other job
    Column("removed_at", Double),  # when its inputs and results were removed
    CheckConstraint(
        "(completed_at IS NULL) = (state IN ('starting', 'processing'))", name="ended_at_a_time"
    ),
)

# Pages, newest first. Times only bound what one of these yields; labels have their own table.
Index(None, jobs.c.owner, jobs.c.created_at, jobs.c.id)
Index(None, jobs.c.owner, jobs.c.state, jobs.c.created_at, jobs.c.id)
Index(None, jobs.c.owner, jobs.c.model, jobs.c.created_at, jobs.c.id)
Index(None, jobs.c.owner, jobs.c.model, jobs.c.state, jobs.c.created_at, jobs.c.id)

# What the sweeper walks.
UNENDED = jobs.c.completed_at.is_(None)
Index(
    "ix_jobs_unended",
    jobs.c.model,
    jobs.c.id,
    postgresql_where=UNENDED,
    sqlite_where=UNENDED,
)

# What the backlog counts.
QUEUED = jobs.c.state == literal_column("'starting'")
Index(
    "ix_jobs_waiting",
    jobs.c.owner,
    jobs.c.model,
    jobs.c.priority,
    postgresql_where=QUEUED,
    sqlite_where=QUEUED,
)

# What a clock ends.
_START_BY = and_(jobs.c.start_by.is_not(None), jobs.c.state == "starting")
_CANCEL_AT = and_(jobs.c.cancel_at.is_not(None), UNENDED)
Index("ix_jobs_start_by", jobs.c.start_by, postgresql_where=_START_BY, sqlite_where=_START_BY)
Index("ix_jobs_cancel_at", jobs.c.cancel_at, postgresql_where=_CANCEL_AT, sqlite_where=_CANCEL_AT)

# What retention walks, oldest first.
KEPT = and_(jobs.c.completed_at.is_not(None), jobs.c.removed_at.is_(None))
Index("ix_jobs_kept", jobs.c.completed_at, jobs.c.id, postgresql_where=KEPT, sqlite_where=KEPT)

# Results that may answer again.
REUSABLE = and_(
    jobs.c.reuse_key.is_not(None), jobs.c.state == "succeeded", jobs.c.removed_at.is_(None)
)
Index(
    "ix_jobs_reusable",
    jobs.c.owner,
    jobs.c.reuse_key,
    postgresql_where=REUSABLE,
    sqlite_where=REUSABLE,
)

# Dead letters that nobody has dealt with.
WAITING = "waiting"
# A literal: no dialect takes a partial index for a value that it learns only later.
DEAD = jobs.c.dead_letter == literal_column(f"'{WAITING}'")
Index(
    "ix_jobs_dead",
    jobs.c.owner,
    jobs.c.completed_at,
    jobs.c.id,
    postgresql_where=DEAD,
    sqlite_where=DEAD,
)

job_labels = Table(
    "job_labels",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("label", Text, primary_key=True),
    Column("created_at", Double, primary_key=True),  # of the job, for pages by label
    Column("job", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, index=True),
)

attempts = Table(
    "attempts",
    metadata,
    Column("job", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("token", Text, primary_key=True),
    Column("worker", Text, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("released", Boolean, nullable=False),
)

rejected_events = Table(
    "rejected_events",
    metadata,
    Column("id", Text, primary_key=True),  # a digest: one that comes again is kept once
    Column("log_topic", Text, nullable=False),
    Column("log_partition", Integer, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("rejected_at", Double, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes
    Column("sha256", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("metadata", Text, nullable=False),  # JSON
    Column("created_at", Double, nullable=False),
)
Index(None, files.c.owner, files.c.created_at, files.c.id)
Index(None, files.c.created_at)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),  # the public part of the key
    Column("owner", Text, nullable=False, index=True),  # whose jobs it sees; stays on rotation
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),  # SHA-256 of the whole key, as hex
    Column("scopes", Text, nullable=False),  # JSON
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),  # of route, parameters and image
    Column("job", ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Double, nullable=False, index=True),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False, index=True),
    # Null: it signs the webhooks that jobs name themselves.
    Column("endpoint", ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), index=True),
    Column("secret", Text, nullable=False),  # whsec_...
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),  # set by a rotation; null for the newest
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),  # JSON
    Column("state", Text, nullable=False),  # active, paused or off
    Column("reason", Text, nullable=False),  # why it is off
    Column("created_at", Double, nullable=False),
)
Index(None, webhook_endpoints.c.owner, webhook_endpoints.c.created_at, webhook_endpoints.c.id)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Text, primary_key=True),  # the header webhook-id
    Column("owner", Text, nullable=False),
    Column("endpoint", ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), index=True),
    Column("job", ForeignKey("jobs.id", ondelete="CASCADE"), index=True),  # null: a test
    Column("url", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("state", Text, nullable=False),  # pending, delivered or exhausted
    Column("attempts", Integer, nullable=False),  # that were made
    Column("next_at", Double),  # null once it is not pending any more
    Column("created_at", Double, nullable=False),
)
Index(None, webhook_deliveries.c.owner, webhook_deliveries.c.created_at, webhook_deliveries.c.id)
_DUE = webhook_deliveries.c.next_at.is_not(None)
Index(
    "ix_webhook_deliveries_due",
    webhook_deliveries.c.next_at,
    postgresql_where=_DUE,
    sqlite_where=_DUE,
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("delivery", ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("seconds", Double, nullable=False),  # that it took
    Column("code", Integer),  # of the reply; null without one
    Column("reply", Text, nullable=False),  # its first bytes, or why there was none
)

# One row: what was changed of the scaling while it ran.
scaling_settings = Table(
    "scaling_settings",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, nullable=False),
    Column("settings", Text, nullable=False),  # JSON
)

scaling_decisions = Table(
    "scaling_decisions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", Double, nullable=False),
    Column("scaler", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("before", Integer, nullable=False),  # consumers
    Column("after", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("applied", Boolean, nullable=False),  # false: a dry run
    Column("alert", Text, nullable=False),
)
Index(None, scaling_decisions.c.at, scaling_decisions.c.id)
Index(None, scaling_decisions.c.model, scaling_decisions.c.at, scaling_decisions.c.id)
