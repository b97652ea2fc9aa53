"""A job ends once, whoever races for it."""

from __future__ import annotations

import asyncio

import pytest

from api.database import ending
from api.database.accepting import Accepting
from api.database.database import Database
from api.database.ending import End
from common.events import JobUpdate
from common.job import JobState, Output
from tests.ledger import new_job, the_job

pytestmark = pytest.mark.anyio


async def test_of_twenty_racing_ends_one_wins(database: Database, accepting: Accepting) -> None:
    job = new_job()
    await accepting.accept(job)

    async def finish(number: int) -> JobUpdate | None:
        end = End(state=JobState.SUCCEEDED, at=float(number), output=Output(text=str(number)))
        async with database.write() as connection:
            return await ending.end(connection, job.id, end)

    results = await asyncio.gather(*(finish(number) for number in range(20)))
    won = [number for number, update in enumerate(results) if update is not None]
    assert len(won) == 1
    ended = await the_job(database, job.id)
    assert ended.state is JobState.SUCCEEDED
    assert ended.sequence == 1
    assert ended.output == Output(text=str(won[0]))
    assert ended.completed_at == float(won[0])
    expected = JobUpdate(
        job=job.id,
        owner=job.owner,
        state=JobState.SUCCEEDED,
        sequence=1,
        model=job.spec.model,
        at=float(won[0]),
    )
    assert results[won[0]] == expected


async def test_a_cancel_ends_a_job_and_a_second_one_changes_nothing(
    database: Database, accepting: Accepting
) -> None:
    job = new_job()
    await accepting.accept(job)
    async with database.write() as connection:
        first, changed = await ending.cancel(
            connection, job.id, code="canceled", error="Canceled by the user.", at=5.0
        )
    assert changed == JobUpdate(
        job=job.id,
        owner="local",
        state=JobState.CANCELED,
        sequence=1,
        model=job.spec.model,
        at=5.0,
        error_code="canceled",
    )
    assert first is not None
    assert (first.state, first.error_code, first.completed_at) == (
        JobState.CANCELED,
        "canceled",
        5.0,
    )
    async with database.write() as connection:
        again = await ending.cancel(connection, job.id, code="other", error="Other.", at=6.0)
    assert again == (first, None)


async def test_what_does_not_exist_cannot_end(database: Database) -> None:
    async with database.write() as connection:
        assert await ending.cancel(connection, "none", code="c", error="e", at=1.0) == (None, None)


def test_only_terminal_states_are_ends() -> None:
    with pytest.raises(ValueError, match="no end"):
        End(state=JobState.PROCESSING, at=1.0)
