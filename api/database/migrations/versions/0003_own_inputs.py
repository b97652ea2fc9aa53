"""Each job and file has an input object of its own: nobody looks for who else refers to one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STORED_INPUT = sa.text('substr(inputs, 1, 17) = \'{"image":"inputs/\'')


def upgrade() -> None:
    op.drop_index("ix_jobs_stored_input", table_name="jobs")
    op.drop_index("ix_files_key", table_name="files")


def downgrade() -> None:
    op.create_index("ix_files_key", "files", ["key"])
    op.create_index(
        "ix_jobs_stored_input",
        "jobs",
        ["inputs"],
        postgresql_where=_STORED_INPUT,
        sqlite_where=_STORED_INPUT,
    )
