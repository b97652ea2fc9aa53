"""What became of an owner's jobs since a time, for a stream that was interrupted."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy import select, true, tuple_

from api.database.database import Database
from api.database.rows import job_of
from api.database.tables import KEPT, UNENDED, jobs
from common.job import Job, JobState

_ROWS = 200  # of one query


async def since(database: Database, owner: str | None, at: float) -> AsyncIterator[list[Job]]:
    """The owner's jobs that ended after `at`, oldest first; then those that run now.

    Without an owner, everyone's. Each batch is a read of its own. Raises LedgerUnavailable.
    """
    theirs = true() if owner is None else jobs.c.owner == owner
    place = (at, "")
    while True:
        here = tuple_(jobs.c.completed_at, jobs.c.id) > tuple_(*place)
        query = (
            select(jobs)
            .where(KEPT, here, theirs)
            .order_by(jobs.c.completed_at, jobs.c.id)
            .limit(_ROWS)
        )
        async with database.read() as connection:
            batch = [job_of(row) for row in await connection.execute(query)]
        if batch:
            yield batch
        if len(batch) < _ROWS:
            break
        place = (batch[-1].completed_at or at, batch[-1].id)
    running = (
        select(jobs)
        .where(theirs, UNENDED, jobs.c.state == JobState.PROCESSING.value)
        .order_by(jobs.c.created_at, jobs.c.id)
        .limit(_ROWS)
    )
    async with database.read() as connection:
        yield [job_of(row) for row in await connection.execute(running)]
