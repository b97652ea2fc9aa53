"""Which jobs a clock ends, and which it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, text

from api.database import due
from api.database.accepting import Accepting
from api.database.database import Database
from api.database.recording import apply
from api.database.tables import jobs
from common.events import JobProgress, JobReleased, JobStarted
from common.job import Job, JobSpec, JobState
from tests.ledger import new_job, the_job

pytestmark = pytest.mark.anyio

AFTER = 100.0 + due.LEEWAY_SECONDS


def start_by(at: float) -> Job:
    return new_job(spec=JobSpec(model="darkroom/echo", start_by=at))


async def next_at(database: Database) -> float | None:
    async with database.read() as connection:
        return await due.next_at(connection)


async def end_due(database: Database, now: float) -> set[str]:
    async with database.write() as connection:
        return {update.job for update in await due.end_due(connection, now, now=now)}


async def say(database: Database, *events: Any) -> None:
    async with database.write() as connection:
        await apply(connection, events)


def started(job: Job) -> JobStarted:
    return JobStarted(job=job.id, token="t", at=99.0, worker="w")


async def test_an_unstarted_job_is_ended_at_its_start_by(
    database: Database, accepting: Accepting
) -> None:
    first, second, free = start_by(100.0), start_by(200.0), new_job()
    for job in (first, second, free):
        await accepting.accept(job)
    assert await next_at(database) == AFTER
    assert await end_due(database, 100.0) == set()
    assert await end_due(database, AFTER) == {first.id}
    ended = await the_job(database, first.id)
    assert (ended.state, ended.error_code) == (JobState.CANCELED, "deadline_passed")
    assert ended.completed_at == AFTER
    assert ended.spec.start_by == 100.0
    assert await next_at(database) == 200.0 + due.LEEWAY_SECONDS
    assert await end_due(database, 1e9) == {second.id}
    assert await next_at(database) is None
    assert (await the_job(database, free.id)).state is JobState.STARTING


async def test_what_started_in_time_is_never_ended_by_its_start_by(
    database: Database, accepting: Accepting
) -> None:
    running, released = start_by(100.0), start_by(100.0)
    for job in (running, released):
        await accepting.accept(job)
        await say(database, started(job))
    await say(database, JobReleased(job=released.id, token="t", at=99.5, reason="shutdown"))
    assert (await the_job(database, released.id)).state is JobState.STARTING
    assert await next_at(database) is None
    assert await end_due(database, 1e9) == set()


async def test_cancel_after_ends_a_running_job_and_keeps_how_far_it_came(
    database: Database, accepting: Accepting
) -> None:
    running, waiting = new_job(cancel_at=50.0), new_job(cancel_at=60.0)
    for job in (running, waiting):
        await accepting.accept(job)
    await say(database, started(running))
    await say(database, JobProgress(job=running.id, token="t", at=1.0, fraction=0.4))
    assert await next_at(database) == 50.0
    assert await end_due(database, 49.9) == set()
    assert await end_due(database, 60.0) == {running.id, waiting.id}
    ended = await the_job(database, running.id)
    assert (ended.state, ended.error_code, ended.progress) == (
        JobState.CANCELED,
        "cancel_after",
        0.4,
    )
    assert await next_at(database) is None


async def test_a_job_with_both_limits_ends_by_the_first(
    database: Database, accepting: Accepting
) -> None:
    spec = JobSpec(model="darkroom/echo", start_by=100.0)
    both, other = new_job(spec=spec, cancel_at=100.0), new_job(spec=spec, cancel_at=50.0)
    await accepting.accept(both)
    await accepting.accept(other)
    assert await end_due(database, 60.0) == {other.id}
    assert await end_due(database, 200.0) == {both.id}
    assert (await the_job(database, both.id)).error_code == "deadline_passed"


async def test_more_than_one_transaction_holds_are_ended_in_several(
    database: Database, accepting: Accepting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "MOST_JOBS", 2)
    made = [start_by(float(number)) for number in range(5)]
    for job in made:
        await accepting.accept(job)
    rounds = [await end_due(database, 1e9) for _ in range(4)]
    assert [len(ended) for ended in rounds] == [2, 2, 1, 0]
    assert rounds[0] == {made[0].id, made[1].id}  # the oldest first


@pytest.mark.parametrize(
    ("condition", "index"),
    [(due.UNSTARTED, "ix_jobs_start_by"), (due.TIMED, "ix_jobs_cancel_at")],
)
async def test_the_clock_reads_its_own_index(
    database: Database, condition: Any, index: str
) -> None:
    column = jobs.c[index.removeprefix("ix_jobs_")]
    query = select(column).where(condition).order_by(column).limit(1)
    async with database.read() as connection:
        dialect = connection.dialect
        words = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        if dialect.name == "postgresql":
            await connection.execute(text("SET enable_seqscan = off"))  # the table is empty
        explain = "EXPLAIN QUERY PLAN" if dialect.name == "sqlite" else "EXPLAIN"
        plan = (await connection.execute(text(f"{explain} {words}"))).all()
    assert index in str(plan)
