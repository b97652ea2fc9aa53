"""Jobs whose time is up: unstarted at `start_by`, or not ended at `cancel_at`.

A job that was started once is not ended by its `start_by` any more, even if that attempt was lost
or released: it did start in time.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database import ending
from api.database.ending import End
from api.database.tables import UNENDED, jobs
from common.events import DEADLINE_PASSED, JobUpdate
from common.job import JobState

MOST_JOBS = 500  # of one transaction
LEEWAY_SECONDS = 0.25  # a start that was in time, and is on its way to the ledger, still counts

# As its index has it: a parameter in place of the word would keep a planner from the index.
_STARTING = jobs.c.state == literal_column("'starting'")
UNSTARTED = and_(jobs.c.start_by.is_not(None), _STARTING, jobs.c.attempt == 0)
TIMED = and_(jobs.c.cancel_at.is_not(None), UNENDED)

_PASSED = "It was not started by its start_by: submit it again with a later one, or without."
_OUT_OF_TIME = "It had not ended after the time that Cancel-After gave: allow more."


async def next_at(connection: AsyncConnection) -> float | None:
    """When the next job is due, in seconds since the epoch; None while none has such a time."""
    start_by = await connection.scalar(
        select(jobs.c.start_by).where(UNSTARTED).order_by(jobs.c.start_by).limit(1)
    )
    cancel_at = await connection.scalar(
        select(jobs.c.cancel_at).where(TIMED).order_by(jobs.c.cancel_at).limit(1)
    )
    moments = [
        *([start_by + LEEWAY_SECONDS] if start_by is not None else []),
        *([cancel_at] if cancel_at is not None else []),
    ]
    return min(moments, default=None)


async def end_due(connection: AsyncConnection, until: float, *, now: float) -> list[JobUpdate]:
    """End `now` what was due at `until`, at most MOST_JOBS for each of the two reasons."""
    unstarted = await _locked(connection, UNSTARTED, jobs.c.start_by, until - LEEWAY_SECONDS)
    passed = _canceled(DEADLINE_PASSED, _PASSED, now)
    ended = await ending.end_each(connection, dict.fromkeys(unstarted, passed))
    timed = await _locked(connection, TIMED, jobs.c.cancel_at, until)
    late = _canceled("cancel_after", _OUT_OF_TIME, now)
    ended |= await ending.end_each(connection, dict.fromkeys(timed, late))
    return list(ended.values())


async def _locked(
    connection: AsyncConnection,
    condition: ColumnElement[bool],
    at: ColumnElement[float],
    until: float,
) -> list[str]:
    """Those that are due, locked in the order of ids, as all do who lock several jobs."""
    found = select(jobs.c.id).where(condition, at <= until).order_by(at).limit(MOST_JOBS)
    ids = list(await connection.scalars(found))
    if not ids:
        return []
    lock = select(jobs.c.id).where(jobs.c.id.in_(ids), condition).order_by(jobs.c.id)
    return list(await connection.scalars(lock.with_for_update()))


def _canceled(code: str, error: str, at: float) -> End:
    return End(state=JobState.CANCELED, at=at, error_code=code, error=error)
