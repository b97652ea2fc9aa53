"""The one place where a job ends: the first end wins, all later ones are ignored."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.jobs import get
from api.database.rows import to_json
from api.database.tables import UNENDED, WAITING, attempts, jobs
from api.database.telling import END_HEARD, TOLD_COLUMNS, insert_of, tell
from common.events import JobUpdate
from common.failures import is_dead_letter
from common.job import TERMINAL, Job, JobState, Output


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a job ends. A failure and a cancellation carry a code and a sentence for the user."""

    state: JobState
    at: float  # seconds since the epoch
    token: str | None = None  # the attempt that ended it, if one did
    output: Output | None = None
    error: str | None = None
    error_code: str | None = None
    logs: str = ""
    predict_time: float | None = None  # seconds

    def __post_init__(self) -> None:
        if self.state not in TERMINAL:
            raise ValueError(f"{self.state} is no end")

    @property
    def is_dead_letter(self) -> bool:
        return self.state is JobState.FAILED and is_dead_letter(self.error_code)


_winner = (
    select(attempts.c.started_at)
    .where(attempts.c.job == bindparam("job"), attempts.c.token == bindparam("winner"))
    .scalar_subquery()
)
_end = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"), UNENDED)
    .values(
        sequence=jobs.c.sequence + 1,
        token=bindparam("winner"),
        # How far a canceled job came is worth knowing.
        progress=case((bindparam("end_state") == JobState.CANCELED.value, jobs.c.progress)),
        started_at=func.coalesce(_winner, jobs.c.started_at),
        **{
            name: bindparam(f"end_{name}")
            for name in (
                "state",
                "completed_at",
                "predict_time",
                "output",
                "error",
                "error_code",
                "logs",
                "dead_letter",
            )
        },
    )
)
_changed = (jobs.c.id, jobs.c.owner, jobs.c.model, jobs.c.sequence, jobs.c.started_at)
_end_and_return = _end.returning(*_changed, END_HEARD)
_ended = _end.returning(*TOLD_COLUMNS, jobs.c.model, jobs.c.sequence, jobs.c.started_at).cte(
    "ended"
)
# On Postgres one statement ends the job and makes the rows of its webhooks.
_end_and_tell = select(
    _ended.c.id, _ended.c.owner, _ended.c.model, _ended.c.sequence, _ended.c.started_at
).add_cte(insert_of(_ended, "postgresql", started=False).cte("told_of"))
_open = (
    select(*_changed, END_HEARD)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)), UNENDED)
    .order_by(jobs.c.id)
    .with_for_update()
)


async def end(connection: AsyncConnection, job_id: str, end: End) -> JobUpdate | None:
    """End the job, and make the rows of its webhooks, inside the caller's transaction.

    None if it had ended, or does not exist.
    """
    now = time.time()
    if connection.dialect.name == "postgresql":
        columns = {**_columns(job_id, end), "told_at": now}
        row = (await connection.execute(_end_and_tell, columns)).one_or_none()
    else:
        row = (await connection.execute(_end_and_return, _columns(job_id, end))).one_or_none()
        if row is not None and row.heard:
            await tell(connection, [job_id], started=False, at=now)
    if row is None:
        return None
    return _update(row, end, row.sequence)


async def end_each(connection: AsyncConnection, ends: Mapping[str, End]) -> dict[str, JobUpdate]:
    """`end` for many jobs (id -> how) in two statements, or three where webhooks hear of them.

    Those that had ended are not in the reply.

    A statement for many rows tells nothing of each, so they are locked and looked at first.
    """
    if len(ends) <= 1:
        return {job: told for job in ends if (told := await end(connection, job, ends[job]))}
    rows = (await connection.execute(_open, {"ids": list(ends)})).all()
    if rows:
        await connection.execute(_end, [_columns(row.id, ends[row.id]) for row in rows])
    heard = [row.id for row in rows if row.heard]
    await tell(connection, heard, started=False, at=time.time())
    return {row.id: _update(row, ends[row.id], row.sequence + 1) for row in rows}


def _update(row: Row[*tuple[Any, ...]], end: End, sequence: int) -> JobUpdate:
    return JobUpdate(
        job=row.id,
        owner=row.owner,
        state=end.state,
        sequence=sequence,
        model=row.model,
        at=end.at,
        started_at=row.started_at,
        predict_time=end.predict_time,
        error_code=end.error_code or "",
    )


def _columns(job_id: str, end: End) -> dict[str, Any]:
    return {
        "job": job_id,
        "winner": end.token,
        "end_state": end.state.value,
        "end_completed_at": end.at,
        "end_predict_time": end.predict_time,
        "end_output": None if end.output is None else to_json(end.output),
        "end_error": end.error,
        "end_error_code": end.error_code,
        "end_logs": end.logs,
        "end_dead_letter": WAITING if end.is_dead_letter else None,
    }


async def cancel(
    connection: AsyncConnection, job_id: str, *, code: str, error: str, at: float
) -> tuple[Job | None, JobUpdate | None]:
    """The job as it stands then, and what changed: nothing if it had ended before.

    The caller appends a CancelJob to the topic `control`, so that the work stops too.
    """
    canceled = End(state=JobState.CANCELED, at=at, error=error, error_code=code)
    changed = await end(connection, job_id, canceled)
    return await get(connection, job_id), changed
