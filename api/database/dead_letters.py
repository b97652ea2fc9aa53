"""Dead letters: jobs that failed for good, and with which nobody has dealt yet.

The letter is the job's row itself. Its column says `waiting` from the job's end on, and `replayed`
or `discarded` once, and for good, when somebody dealt with it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.paging import Cursor, Page, beside, page_of
from api.database.rows import job_of, spec_of
from api.database.tables import DEAD, jobs
from common.job import Job, JobSpec, Priority
from common.job_log import Position
from common.topic import job_topic

DISCARDED = "discarded"
REPLAYED = "replayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilter:
    """Which letters are meant; what is None does not filter.

    Times are seconds since the epoch and exclusive. Text may hold no NUL and no lone surrogate.
    """

    ids: tuple[str, ...] | None = None
    cause: str | None = None
    model: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    failed_after: float | None = None
    failed_before: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterGroup:
    """All letters of one model with one cause."""

    model: str
    cause: str
    count: int
    first_failed_at: float  # seconds since the epoch
    last_failed_at: float
    sample: Job  # the latest of them


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterCopy:
    """What of a letter goes to the log."""

    job: str
    spec: JobSpec
    cause: str
    attempts: int
    topic: str  # where the job had waited
    position: Position | None  # None: it was not noted yet


async def page(
    connection: AsyncConnection,
    *,
    owner: str | None,
    filter: LetterFilter,
    cursor: Cursor | None,
    limit: int,
) -> Page[Job]:
    """At most `limit` of the owner's letters next to `cursor`, or the latest without one.

    The cursor's time is that of the failure. Without `owner`, here and below, they are everyone's.
    """
    query = _page(owner, filter, cursor, limit + 1)
    found = [job_of(row) for row in await connection.execute(query)]
    return page_of(found, _place, cursor=cursor, limit=limit)


async def groups(
    connection: AsyncConnection, *, owner: str | None, filter: LetterFilter
) -> list[LetterGroup]:
    """The letters by model and cause, the largest group first.

    Reads each letter that waits, through its index; no other job.
    """
    kind = (jobs.c.model, jobs.c.error_code)
    latest = (jobs.c.completed_at.desc(), jobs.c.id.desc())
    ranked = (
        select(
            jobs,
            func.count().over(partition_by=kind).label("letters"),
            func.min(jobs.c.completed_at).over(partition_by=kind).label("first_at"),
            func.row_number().over(partition_by=kind, order_by=latest).label("rank"),
        )
        .where(*_wanted(owner, filter))
        .subquery()
    )
    query = select(ranked).where(ranked.c.rank == 1)
    query = query.order_by(ranked.c.letters.desc(), ranked.c.model, ranked.c.error_code)
    return [
        LetterGroup(
            model=row.model,
            cause=row.error_code,
            count=row.letters,
            first_failed_at=row.first_at,
            last_failed_at=row.completed_at,
            sample=job_of(row),
        )
        for row in await connection.execute(query)
    ]


async def count(connection: AsyncConnection, *, owner: str | None, filter: LetterFilter) -> int:
    """How many letters wait."""
    query = select(func.count()).select_from(jobs).where(*_wanted(owner, filter))
    return await connection.scalar(query) or 0


async def discard(
    connection: AsyncConnection, *, owner: str | None, filter: LetterFilter, limit: int
) -> list[str]:
    """Discard at most `limit` letters, the latest first, and return their ids."""
    mine = select(jobs.c.id).where(*_wanted(owner, filter))
    chosen = beside(mine, jobs.c.completed_at, jobs.c.id, None, limit)
    settled = (
        update(jobs)
        # The second condition looks again at rows that another writer held meanwhile.
        .where(jobs.c.id.in_(chosen), DEAD)
        .values(dead_letter=DISCARDED)
        .returning(jobs.c.id)
    )
    return list(await connection.scalars(settled))


async def mark_replayed(connection: AsyncConnection, id: str) -> None:
    """It has a new job, and waits no more. One that was discarded meanwhile stays so."""
    replayed = update(jobs).where(jobs.c.id == id, DEAD).values(dead_letter=REPLAYED)
    await connection.execute(replayed)


async def copies(connection: AsyncConnection, ids: Collection[str]) -> list[LetterCopy]:
    """Those of the jobs that are letters and wait, as the log shall have them."""
    query = select(jobs).where(jobs.c.id.in_(ids), DEAD)
    return [
        LetterCopy(
            job=row.id,
            spec=spec_of(row),
            cause=row.error_code or "",
            attempts=row.attempt,
            topic=row.log_topic or job_topic(row.model, Priority(row.lane or row.priority)),
            position=None
            if row.log_topic is None
            else Position(row.log_topic, row.log_partition, row.log_offset),
        )
        for row in await connection.execute(query)
    ]


def _wanted(owner: str | None, filter: LetterFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [DEAD]
    if owner is not None:
        conditions.append(jobs.c.owner == owner)
    bounds = (
        (jobs.c.created_at, filter.created_after, filter.created_before),
        (jobs.c.completed_at, filter.failed_after, filter.failed_before),
    )
    for column, after, before in bounds:
        if after is not None:
            conditions.append(column > after)
        if before is not None:
            conditions.append(column < before)
    if filter.ids is not None:
        conditions.append(jobs.c.id.in_(filter.ids))
    if filter.cause is not None:
        conditions.append(jobs.c.error_code == filter.cause)
    if filter.model is not None:
        conditions.append(jobs.c.model == filter.model)
    return conditions


def _page(
    owner: str | None, filter: LetterFilter, cursor: Cursor | None, limit: int
) -> Select[Any]:
    query = select(jobs).where(*_wanted(owner, filter))
    return beside(query, jobs.c.completed_at, jobs.c.id, cursor, limit)


def _place(letter: Job) -> tuple[float, str]:
    assert letter.completed_at is not None
    return letter.completed_at, letter.id
