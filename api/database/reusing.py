"""Taking over the result of a job that succeeded: a new job that ends as it is accepted."""

from __future__ import annotations

from msgspec.structs import replace
from sqlalchemy import insert, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database import ending
from api.database.claims import Claim, Claiming, Earlier
from api.database.claims import take as claim_each
from api.database.ending import End
from api.database.jobs import get
from api.database.rows import job_of, label_rows, row_of
from api.database.tables import job_labels, jobs
from common.events import JobUpdate
from common.job import Job, JobState

# A constant, not a parameter: only so does a prepared statement find the partial index.
_REUSABLE = (jobs.c.state == literal_column("'succeeded'")) & jobs.c.removed_at.is_(None)


async def find(connection: AsyncConnection, owner: str, reuse_key: str) -> str | None:
    """Any job of the owner's whose result is kept and answers this key."""
    mine = jobs.c.owner == owner, jobs.c.reuse_key == reuse_key
    found: str | None = await connection.scalar(select(jobs.c.id).where(*mine, _REUSABLE).limit(1))
    return found


async def take_over(
    connection: AsyncConnection, job: Job, source: str, claim: Claim | None
) -> tuple[Job, JobUpdate] | Earlier | None:
    """Insert `job` and end it with the result of `source`, in the caller's transaction.

    None if that result has just been removed; what the claim's key made before, if it did. The
    source is locked until the commit, so that its removal waits, and then sees the new referrer.
    The new job takes over the result's lifetime: it ended when the result came to be.
    """
    query = select(jobs).where(jobs.c.id == source, _REUSABLE).with_for_update(read=True)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    made = job_of(row)
    heir = replace(
        job,
        spec=replace(job.spec, inputs=made.spec.inputs),
        reused_from=made.reused_from or made.id,  # whose files they are
    )
    await connection.execute(insert(jobs), row_of(heir))
    if heir.labels:
        await connection.execute(insert(job_labels), label_rows(heir))
    if claim is not None and claim.key is not None:
        claiming = Claiming(heir.id, heir.owner, heir.created_at, claim.key, claim.fingerprint)
        lost = await claim_each(connection, [claiming])
        if lost:
            return lost[heir.id]
    end = End(state=JobState.SUCCEEDED, at=made.completed_at or 0.0, output=made.output)
    update = await ending.end(connection, heir.id, end)
    ended = await get(connection, heir.id)
    assert update is not None
    assert ended is not None
    return ended, update
