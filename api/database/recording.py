"""Events into the ledger: a batch of them in the caller's transaction."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from sqlalchemy import Double, Text, and_, bindparam, false, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database import ending
from api.database.attempts import Attempt, Standing
from api.database.dialects import insert
from api.database.tables import attempts, jobs, rejected_events
from api.database.telling import START_HEARD, TOLD_COLUMNS, insert_of, tell
from common.events import JobEvent, JobReleased, JobStarted, JobUpdate
from common.job import JobState
from common.job_log import Position
from common.scaling import ScalingSettings


@dataclass(slots=True)
class Applied:
    """What a batch came to.

    `updates` holds each job that it named as it stands now, changed or not: an event may come
    again because its update was lost on the way.
    """

    updates: list[JobUpdate] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)  # jobs on which work goes on that nobody wants
    unknown: list[int] = field(default_factory=list)  # indices of events without a job
    scaling: ScalingSettings | None = None  # for a scaler that asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A message of `events` that cannot be applied. Its texts are clean."""

    position: Position
    key: str
    value: bytes
    reason: str
    job: str | None  # whom it ends; None: it is only kept
    at: float  # seconds since the epoch


async def apply(connection: AsyncConnection, events: Sequence[JobEvent]) -> Applied:
    """Apply the events in their order. Those that were applied before change nothing."""
    starting = any(isinstance(event, JobStarted | JobReleased) for event in events)
    standings = await _standings(connection, {event.job for event in events}, starting)
    applied = Applied()
    unstarted = [standing for standing in standings.values() if standing.attempt == 0]
    for index, event in enumerate(events):
        standing = standings.get(event.job)
        if standing is None:
            applied.unknown.append(index)
        else:
            standing.take(event)
    await _write(connection, list(standings.values()))
    heard = [standing.job for standing in unstarted if standing.attempt and standing.start_heard]
    await tell(connection, heard, started=True, at=time.time())
    ends = {job: standing.end for job, standing in standings.items() if standing.end is not None}
    ended = await ending.end_each(connection, ends)
    for job, standing in standings.items():
        applied.updates.append(ended.get(job, standing.update))
        if standing.stray_start:
            applied.stop.append(job)
    return applied


async def start_first(connection: AsyncConnection, event: JobStarted) -> JobUpdate | None:
    """Apply the first start of a job, on Postgres by one statement. None if it is not the first."""
    now = time.time()
    columns = {
        "id_": event.job,
        "token_": event.token,
        "worker_": event.worker,
        "at_": event.at,
        "told_at": now,
    }
    if connection.dialect.name == "postgresql":
        row = (await connection.execute(_start_first, columns)).one_or_none()
    else:  # SQLite writes one table by a statement
        row = (await connection.execute(_start, columns)).one_or_none()
        if row is not None:
            await connection.execute(_first_attempt, columns)
            if row.heard:
                await tell(connection, [event.job], started=True, at=now)
    if row is None:
        return None
    return JobUpdate(
        job=event.job,
        owner=row.owner,
        state=JobState.PROCESSING,
        sequence=row.sequence,
        model=row.model,
        at=event.at,
        started_at=event.at,
        worker=event.worker,
    )


async def reject(connection: AsyncConnection, rejection: Rejection) -> JobUpdate | None:
    """Keep the message, and end its job as failed. Returns how the job stands, if there is one."""
    await _keep(connection, rejection)
    if rejection.job is None:
        return None
    end = ending.End(
        state=JobState.FAILED,
        at=rejection.at,
        error_code="event_rejected",
        error=f"What the consumer reported could not be recorded: {rejection.reason}",
    )
    ended = await ending.end(connection, rejection.job, end)
    if ended is not None:
        return ended
    standings = await _standings(connection, {rejection.job}, with_attempts=False)
    return standings[rejection.job].update if standings else None


_find = (
    select(
        jobs.c.id.label("job"),
        jobs.c.owner,
        jobs.c.model,
        jobs.c.state,
        jobs.c.sequence,
        jobs.c.attempt,
        jobs.c.token,
        jobs.c.started_at,
        jobs.c.progress,
        START_HEARD,
    )
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(jobs.c.id)
    .with_for_update(of=jobs)
)
_find_with_attempts = _find.outerjoin_from(jobs, attempts, attempts.c.job == jobs.c.id).add_columns(
    attempts.c.token.label("attempt_token"),
    attempts.c.worker,
    attempts.c.started_at.label("attempt_started_at"),
    attempts.c.released,
)
_untouched = and_(
    jobs.c.id == bindparam("id_"), jobs.c.state == JobState.STARTING.value, jobs.c.attempt == 0
)
_new_attempt = select(
    jobs.c.id,
    bindparam("token_", type_=Text),
    bindparam("worker_", type_=Text),
    bindparam("at_", type_=Double),
    false(),
).where(_untouched)
_to_processing = (
    update(jobs)
    .where(_untouched)
    .values(
        state=JobState.PROCESSING.value,
        sequence=jobs.c.sequence + 1,
        attempt=1,
        token=bindparam("token_"),
        started_at=bindparam("at_"),
    )
)
_start = _to_processing.returning(jobs.c.owner, jobs.c.model, jobs.c.sequence, START_HEARD)
_first_attempt = (
    sqlite.insert(attempts)
    .values(
        job=bindparam("id_"),
        token=bindparam("token_"),
        worker=bindparam("worker_"),
        started_at=bindparam("at_"),
        released=False,
    )
    .on_conflict_do_nothing()
)
_started = _to_processing.returning(*TOLD_COLUMNS, jobs.c.model, jobs.c.sequence).cte("started")
_start_first = select(_started.c.owner, _started.c.model, _started.c.sequence).add_cte(
    postgresql.insert(attempts)
    .from_select(["job", "token", "worker", "started_at", "released"], _new_attempt)
    .on_conflict_do_nothing()
    .cte("new_attempt"),
    insert_of(_started, "postgresql", started=True).cte("told_of"),
)
_inserts: dict[str, postgresql.Insert | sqlite.Insert] = {
    "postgresql": postgresql.insert(attempts),
    "sqlite": sqlite.insert(attempts),
}
_keep_attempts = {
    dialect: write.on_conflict_do_update(
        index_elements=[attempts.c.job, attempts.c.token],
        set_={"released": write.excluded.released},
    )
    for dialect, write in _inserts.items()
}
_move = update(jobs).where(jobs.c.id == bindparam("id_"))


async def _standings(
    connection: AsyncConnection, ids: Collection[str], with_attempts: bool
) -> dict[str, Standing]:
    """The jobs, locked in the order of their ids, so that no two writers wait for each other."""
    query = _find_with_attempts if with_attempts else _find
    standings: dict[str, Standing] = {}
    for row in await connection.execute(query, {"ids": list(ids)}):
        standing = standings.setdefault(
            row.job,
            Standing(
                job=row.job,
                owner=row.owner,
                model=row.model,
                state=JobState(row.state),
                sequence=row.sequence,
                attempt=row.attempt,
                token=row.token,
                started_at=row.started_at,
                progress=row.progress,
                start_heard=bool(row.heard),
            ),
        )
        if with_attempts and row.attempt_token is not None:
            standing.attempts[row.attempt_token] = Attempt(
                row.worker, row.attempt_started_at, row.released
            )
    return standings


async def _write(connection: AsyncConnection, standings: list[Standing]) -> None:
    touched = [
        {
            "job": standing.job,
            "token": token,
            "worker": attempt.worker,
            "started_at": attempt.started_at,
            "released": attempt.released,
        }
        for standing in standings
        for token in standing.touched
        for attempt in [standing.attempts[token]]
    ]
    if touched:
        await connection.execute(_keep_attempts[connection.dialect.name], touched)
    moved = [
        {
            "id_": standing.job,
            "state": standing.state.value,
            "sequence": standing.sequence,
            "attempt": standing.attempt,
            "token": standing.token,
            "started_at": standing.started_at,
            "progress": standing.progress,
        }
        for standing in standings
        if standing.moved
    ]
    if moved:
        await connection.execute(_move, moved)


async def _keep(connection: AsyncConnection, rejection: Rejection) -> None:
    digest = sha256(rejection.key.encode() + b"\0" + rejection.value).hexdigest()
    row = {
        "id": digest,
        "log_topic": rejection.position.topic,
        "log_partition": rejection.position.partition,
        "log_offset": rejection.position.offset,
        "key": rejection.key,
        "value": rejection.value,
        "reason": rejection.reason,
        "rejected_at": rejection.at,
    }
    await connection.execute(insert(connection, rejected_events).on_conflict_do_nothing(), row)
