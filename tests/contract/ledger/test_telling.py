"""Webhooks to be sent come into being with the move that they tell of, or not at all."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest

from api.database import ending, recording
from api.database.accepting import Accepting
from api.database.database import Database
from api.database.ending import End
from common.events import JobReleased, JobStarted
from common.job import Job, JobState, Output
from tests.ledger import new_job, the_job
from tests.webhooks import deliveries, new_endpoint

pytestmark = pytest.mark.anyio

URL = "https://example.org/mine"
SUCCESS = End(state=JobState.SUCCEEDED, at=9.0, output=Output(text="a ring"), logs="ran")
FAILURE = End(state=JobState.FAILED, at=9.0, error="It broke.", error_code="broken")


async def accepted(accepting: Accepting, **fields: Any) -> Job:
    job = new_job(**fields)
    await accepting.accept(job)
    return job


async def end_alone(database: Database, job: Job, end: End = SUCCESS) -> None:
    async with database.statement() as connection:
        assert await ending.end(connection, job.id, end) is not None


def started(job: Job, token: str = "one") -> JobStarted:
    return JobStarted(job=job.id, token=token, at=5.0, worker="w")


async def events_of(database: Database, job: Job) -> list[str]:
    return sorted(row["event"] for row in await deliveries(database) if row["job"] == job.id)


async def test_the_end_of_a_job_makes_a_delivery_to_its_own_webhook(
    database: Database, accepting: Accepting
) -> None:
    job = await accepted(accepting, webhook=URL)
    before = time.time()
    await end_alone(database, job)
    [row] = await deliveries(database)
    assert before <= row["next_at"] == row["created_at"] <= time.time()
    del row["next_at"], row["created_at"]
    assert row == {
        "id": f"{job.id}_completed",
        "owner": "local",
        "endpoint": None,
        "job": job.id,
        "url": URL,
        "event": "completed",
        "state": "pending",
        "attempts": 0,
    }


async def test_a_job_without_webhooks_makes_none(database: Database, accepting: Accepting) -> None:
    await new_endpoint(database, "foreign", owner="somebody")
    await new_endpoint(database, "paused", state="paused", events=ending_events())
    job = await accepted(accepting)
    async with database.write() as connection:
        await recording.apply(connection, [started(job)])
    await end_alone(database, job)
    assert await deliveries(database) == []


def ending_events() -> tuple[str, ...]:
    return ("start", "output", "logs", "completed")


async def test_each_active_endpoint_of_the_owner_hears_what_it_listens_to(
    database: Database, accepting: Accepting
) -> None:
    await new_endpoint(database, "everything", events=ending_events())
    await new_endpoint(database, "ends", url="https://example.org/ends")
    await new_endpoint(database, "starts", events=("start",))
    job = await accepted(accepting, webhook=URL, webhook_events=("logs",))
    await end_alone(database, job)
    rows = [(row["endpoint"], row["event"], row["url"]) for row in await deliveries(database)]
    assert set(rows) == {
        (None, "logs", URL),
        ("everything", "completed", "https://example.org/all"),
        ("everything", "output", "https://example.org/all"),
        ("everything", "logs", "https://example.org/all"),
        ("ends", "completed", "https://example.org/ends"),
    }
    assert len(rows) == 5


async def test_an_end_without_output_or_logs_tells_of_neither(
    database: Database, accepting: Accepting
) -> None:
    job = await accepted(accepting, webhook=URL, webhook_events=ending_events())
    await end_alone(database, job, FAILURE)
    assert await events_of(database, job) == ["completed"]


async def test_many_ends_at_once_tell_of_each(database: Database, accepting: Accepting) -> None:
    own = await accepted(accepting, webhook=URL)
    silent = await accepted(accepting, owner="somebody")
    other = await accepted(accepting, webhook=URL + "/2", webhook_events=("output", "completed"))
    ends = {own.id: FAILURE, silent.id: SUCCESS, other.id: SUCCESS}
    async with database.write() as connection:
        assert len(await ending.end_each(connection, ends)) == 3
    assert await events_of(database, own) == ["completed"]
    assert await events_of(database, silent) == []
    assert await events_of(database, other) == ["completed", "output"]


@pytest.mark.parametrize("alone", [True, False])
async def test_a_job_that_ends_twice_is_told_once(
    database: Database, accepting: Accepting, alone: bool
) -> None:
    job, other = await accepted(accepting, webhook=URL), await accepted(accepting)
    for _ in range(2):
        async with database.write() as connection:
            if alone:
                await ending.end(connection, job.id, SUCCESS)
            else:
                await ending.end_each(connection, {job.id: SUCCESS, other.id: SUCCESS})
    assert await events_of(database, job) == ["completed"]


async def test_a_cancel_is_told(database: Database, accepting: Accepting) -> None:
    job = await accepted(accepting, webhook=URL)
    async with database.write() as connection:
        await ending.cancel(connection, job.id, code="canceled", error="Canceled.", at=3.0)
    assert await events_of(database, job) == ["completed"]


async def test_what_is_rolled_back_is_not_told(database: Database, accepting: Accepting) -> None:
    job = await accepted(accepting, webhook=URL, webhook_events=ending_events())
    with suppress(KeyError):
        async with database.write() as connection:
            await recording.apply(connection, [started(job)])
            assert await ending.end(connection, job.id, SUCCESS) is not None
            raise KeyError
    assert await deliveries(database) == []
    assert (await the_job(database, job.id)).state is JobState.STARTING


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_start_is_told_to_who_listens_and_once(
    database: Database, accepting: Accepting, at_once: bool
) -> None:
    await new_endpoint(database, "ends")
    await new_endpoint(database, "starts", events=("start",))
    job = await accepted(accepting, webhook=URL, webhook_events=("start", "completed"))
    if at_once:
        async with database.statement() as connection:
            assert await recording.start_first(connection, started(job)) is not None
    else:
        async with database.write() as connection:
            await recording.apply(connection, [started(job)])
    release = JobReleased(job=job.id, token="one", at=6.0, reason="shutdown")
    async with database.write() as connection:
        await recording.apply(connection, [release, started(job, "two")])
    assert [(row["endpoint"], row["event"]) for row in await deliveries(database)] == [
        (None, "start"),
        ("starts", "start"),
    ]
    assert (await the_job(database, job.id)).attempt == 2


async def test_a_start_and_an_end_in_one_batch_are_both_told(
    database: Database, accepting: Accepting
) -> None:
    job = await accepted(accepting, webhook=URL, webhook_events=("start", "completed"))
    lost = [started(job, f"t{number}") for number in range(6)]  # the sixth ends it
    async with database.write() as connection:
        await recording.apply(connection, lost)
    assert await events_of(database, job) == ["completed", "start"]
