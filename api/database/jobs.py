"""Reading jobs: one by its id, or pages of them, newest first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from api.access.keys import LOCAL
from api.database import keys
from api.database.paging import Cursor, Page, beside, page_of
from api.database.rows import job_of
from api.database.tables import job_labels, jobs
from common.job import Job, JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs of an owner a page shows; what is None does not filter.

    Times are seconds since the epoch; both are exclusive. Text may hold no NUL and no lone
    surrogate: Postgres knows neither.
    """

    status: JobState | None = None
    model: str | None = None
    label: str | None = None
    created_after: float | None = None
    created_before: float | None = None


async def get(connection: AsyncConnection, job_id: str) -> Job | None:
    """The job, whoever owns it."""
    row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).one_or_none()
    return None if row is None else job_of(row)


async def get_each(connection: AsyncConnection, ids: Collection[str]) -> dict[str, Job]:
    """The jobs that there are, by id."""
    rows = await connection.execute(select(jobs).where(jobs.c.id.in_(ids)))
    return {row.id: job_of(row) for row in rows}


async def page(
    connection: AsyncConnection,
    *,
    owner: str | None,
    filter: JobFilter,
    cursor: Cursor | None,
    limit: int,
) -> Page[Job]:
    """At most `limit` of the owner's jobs, those next to `cursor`, or the newest without one.

    Without `owner` they are everyone's.
    """
    rows: Sequence[Row[Any]]
    if owner is not None:
        rows = (await connection.execute(_page(owner, filter, cursor, limit + 1))).all()
    else:
        rows = await _of_everyone(connection, filter, cursor, limit + 1)
    found = [job_of(row) for row in rows]
    return page_of(found, lambda job: (job.created_at, job.id), cursor=cursor, limit=limit)


async def _of_everyone(
    connection: AsyncConnection, filter: JobFilter, cursor: Cursor | None, limit: int
) -> list[Row[Any]]:
    """Each owner's own page, merged: every filter then finds an index that begins with owners."""
    rows: list[Row[Any]] = []
    for owner in sorted({LOCAL, *await keys.owners(connection)}):
        rows += await connection.execute(_page(owner, filter, cursor, limit))
    newer = cursor is not None and cursor.newer
    rows.sort(key=lambda row: (row.created_at, row.id), reverse=not newer)
    return rows[:limit]


def _page(owner: str, filter: JobFilter, cursor: Cursor | None, limit: int) -> Select[Any]:
    query = select(jobs)
    created_at, job_id = jobs.c.created_at, jobs.c.id
    if filter.label is not None:
        # The order then comes from the labels' own index.
        query = query.join(job_labels, job_labels.c.job == jobs.c.id)
        query = query.where(job_labels.c.owner == owner, job_labels.c.label == filter.label)
        created_at, job_id = job_labels.c.created_at, job_labels.c.job
    query = query.where(*_filters(filter, created_at), jobs.c.owner == owner)
    return beside(query, created_at, job_id, cursor, limit)


def _filters(filter: JobFilter, created_at: ColumnElement[float]) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filter.status is not None:
        conditions.append(jobs.c.state == filter.status.value)
    if filter.model is not None:
        conditions.append(jobs.c.model == filter.model)
    if filter.created_after is not None:
        conditions.append(created_at > filter.created_after)
    if filter.created_before is not None:
        conditions.append(created_at < filter.created_before)
    return conditions
