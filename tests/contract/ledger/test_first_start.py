"""A first start that comes alone is recorded as the transaction would record it."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select

from api.database import recording
from api.database.accepting import Accepting
from api.database.database import Database
from api.database.tables import attempts
from common.events import JobStarted, JobUpdate
from common.job import JobState
from tests.ledger import new_job, the_job

pytestmark = pytest.mark.anyio


async def test_of_racing_first_starts_one_is_taken_by_the_single_statement(
    database: Database, accepting: Accepting
) -> None:
    job = new_job()
    await accepting.accept(job)
    starts = [JobStarted(job=job.id, token=f"t{n}", at=float(n), worker="w") for n in range(5)]

    async def start(event: JobStarted) -> JobUpdate | None:
        async with database.statement() as connection:
            return await recording.start_first(connection, event)

    taken = [update for update in await asyncio.gather(*map(start, starts)) if update]
    now = await the_job(database, job.id)
    expected = JobUpdate(
        job=job.id,
        owner=job.owner,
        state=JobState.PROCESSING,
        sequence=1,
        model=job.spec.model,
        at=now.started_at or 0,
        started_at=now.started_at,
        worker="w",
    )
    assert taken == [expected]
    assert (now.state, now.attempt, now.sequence) == (JobState.PROCESSING, 1, 1)
    async with database.read() as connection:
        rows = (await connection.execute(select(attempts.c.token, attempts.c.started_at))).all()
    assert (f"t{now.started_at:.0f}", now.started_at) in [tuple(row) for row in rows]


async def test_a_start_after_the_first_and_one_of_no_job_are_left_to_the_transaction(
    database: Database, accepting: Accepting
) -> None:
    job = new_job()
    await accepting.accept(job)
    first = JobStarted(job=job.id, token="a", at=1.0, worker="w")
    async with database.write() as connection:
        await recording.apply(connection, [first])
    for event in (
        first,
        JobStarted(job=job.id, token="b", at=2.0, worker="w"),
        JobStarted(job="nobody", token="a", at=1.0, worker="w"),
    ):
        async with database.statement() as connection:
            assert await recording.start_first(connection, event) is None
    assert (await the_job(database, job.id)).attempt == 1
