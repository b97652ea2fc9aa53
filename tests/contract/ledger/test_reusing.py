"""Taking over a result while its removal is under way: one of the two waits for the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import update

from api.database import ending, reusing
from api.database.accepting import Accepting
from api.database.claims import Claim, Earlier
from api.database.database import Database
from api.database.ending import End
from api.database.tables import jobs
from common.job import Job, JobState, Output
from tests.ledger import new_job, the_job

pytestmark = pytest.mark.anyio

OUTPUT = Output(text="a caption")


@pytest.fixture
async def source(database: Database, accepting: Accepting) -> Job:
    """A job that succeeded a minute ago."""
    job = new_job(reuse_key="k", created_at=time.time() - 61)
    await accepting.accept(job)
    async with database.write() as connection:
        end = End(state=JobState.SUCCEEDED, at=time.time() - 60, output=OUTPUT)
        await ending.end(connection, job.id, end)
    return await the_job(database, job.id)


async def _take_over(database: Database, job: Job, source: Job, claim: Claim | None = None) -> Any:
    async with database.write() as connection:
        return await reusing.take_over(connection, job, source.id, claim)


@asynccontextmanager
async def _removal(database: Database, source: Job) -> AsyncIterator[None]:
    async with database.write() as connection:
        gone = update(jobs).where(jobs.c.id == source.id)
        await connection.execute(gone.values(removed_at=1.0, output=None))
        yield


async def test_the_heir_has_the_result_its_age_and_its_input(
    database: Database, source: Job
) -> None:
    wanted = new_job(reuse_key="k", labels=("a",))
    heir, told = await _take_over(database, wanted, source)
    assert heir == await the_job(database, wanted.id)
    assert (heir.state, heir.output, heir.reused_from) == (JobState.SUCCEEDED, OUTPUT, source.id)
    assert heir.completed_at == source.completed_at
    assert heir.spec.inputs == source.spec.inputs
    assert (told.job, told.state, told.sequence) == (wanted.id, JobState.SUCCEEDED, heir.sequence)


async def test_a_result_whose_removal_is_under_way_is_waited_for_and_not_taken(
    database: Database, source: Job
) -> None:
    wanted = new_job(reuse_key="k")
    async with _removal(database, source):
        taking = asyncio.create_task(_take_over(database, wanted, source))
        done, _ = await asyncio.wait({taking}, timeout=0.3)
        assert not done
    assert await taking is None
    async with database.read() as connection:
        assert await reusing.find(connection, source.owner, "k") is None


async def test_a_removal_waits_for_the_heir_that_refers_to_the_result(
    database: Database, source: Job
) -> None:
    async def remove() -> None:
        async with _removal(database, source):
            pass

    async with database.write() as connection:
        await reusing.take_over(connection, new_job(reuse_key="k"), source.id, None)
        removing = asyncio.create_task(remove())
        done, _ = await asyncio.wait({removing}, timeout=0.3)
        assert not done
    await removing
    async with database.read() as connection:
        heir = await reusing.find(connection, source.owner, "k")
    assert heir not in (None, source.id)


async def test_a_key_that_made_a_job_makes_no_heir(
    database: Database, accepting: Accepting, source: Job
) -> None:
    first, claim = new_job(), Claim("a", "key")
    await accepting.accept(first, claim)
    wanted = new_job(reuse_key="k")
    assert await _take_over(database, wanted, source, claim) == Earlier(first.id, "a")
    with pytest.raises(AssertionError):
        await the_job(database, wanted.id)


async def test_only_the_owners_own_kept_success_is_found(
    database: Database, accepting: Accepting, source: Job
) -> None:
    await accepting.accept(new_job(reuse_key="waiting"))
    async with database.read() as connection:
        assert await reusing.find(connection, source.owner, "k") == source.id
        assert await reusing.find(connection, "other", "k") is None
        assert await reusing.find(connection, source.owner, "waiting") is None
