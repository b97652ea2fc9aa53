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
    CheckConstraint(
        "(completed_at IS NULL) = (state IN ('starting', 'processing'))", name="ended_at_a_time"
    ),
)

# Pages, newest first. Each other filter thins out what one of these yields.
Index(None, jobs.c.owner, jobs.c.created_at, jobs.c.id)
Index(None, jobs.c.owner, jobs.c.state, jobs.c.created_at, jobs.c.id)
Index(None, jobs.c.owner, jobs.c.model, jobs.c.created_at, jobs.c.id)

# What the sweeper walks.
UNENDED = jobs.c.completed_at.is_(None)
Index(
    "ix_jobs_unended",
    jobs.c.model,
    jobs.c.id,
    postgresql_where=UNENDED,
    sqlite_where=UNENDED,
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
