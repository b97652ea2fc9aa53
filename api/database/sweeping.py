"""What the sweeper asks of the ledger: which jobs have not ended, and where the log held them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import case, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.database import Database
from api.database.positions import Appended
from api.database.rows import spec_of
from api.database.tables import UNENDED, jobs
from common.job import JobSpec, Priority
from common.job_log import Position

BATCH = 1000


@dataclass(frozen=True, slots=True)
class Unended:
    """A job that has not ended."""

    id: str
    created_at: float  # seconds since the epoch
    appended: Appended | None  # where the log held it last, as far as is known


async def models(connection: AsyncConnection) -> list[str]:
    """The models that have jobs which have not ended."""
    found: list[str] = []
    query = select(jobs.c.model).where(UNENDED).order_by(jobs.c.model).limit(1)
    model = await connection.scalar(query)
    while model is not None:
        # From one model to the next through the index, not over all their jobs.
        found.append(model)
        model = await connection.scalar(query.where(jobs.c.model > model))
    return found


async def unended(database: Database, model: str, *, now: float) -> AsyncIterator[list[Unended]]:
    """The model's jobs that have not ended, in batches, each read when it is asked for.

    Without those that were not started by their `start_by`: the clock is about to end them.
    """
    in_time = or_(jobs.c.start_by.is_(None), jobs.c.start_by > now, jobs.c.attempt > 0)
    last = ""
    while True:
        query = (
            select(
                jobs.c.id,
                jobs.c.created_at,
                jobs.c.log_topic,
                jobs.c.log_partition,
                jobs.c.log_offset,
                jobs.c.appended_at,
            )
            .where(UNENDED, in_time, jobs.c.model == model, jobs.c.id > last)
            .order_by(jobs.c.id)
            .limit(BATCH)
        )
        async with database.read() as connection:
            rows = (await connection.execute(query)).all()
        if not rows:
            return
        last = rows[-1].id
        yield [Unended(row.id, row.created_at, _appended(*row[2:])) for row in rows]


def _appended(
    topic: str | None, partition: int | None, offset: int | None, at: float | None
) -> Appended | None:
    if topic is None or partition is None or offset is None or at is None:
        return None
    return Appended(Position(topic, partition, offset), at)


class Carried(NamedTuple):
    """What goes to the log, to the topic of which priority, and in which trace."""

    spec: JobSpec
    lane: Priority
    traceparent: str | None


async def specs(connection: AsyncConnection, ids: Collection[str]) -> dict[str, Carried]:
    """What was asked, of those of the jobs that have still not ended.

    One that was started before is to start again whatever the time: a consumer, which knows no
    attempts but its own, passes over what comes to it after its `start_by`.
    """
    query = select(
        jobs.c.id,
        jobs.c.model,
        jobs.c.priority,
        jobs.c.lane,
        jobs.c.parameters,
        jobs.c.inputs,
        jobs.c.traceparent,
        case((jobs.c.attempt == 0, jobs.c.start_by)).label("start_by"),
    ).where(UNENDED, jobs.c.id.in_(ids))
    return {
        row.id: Carried(spec_of(row), Priority(row.lane or row.priority), row.traceparent)
        for row in await connection.execute(query)
    }
