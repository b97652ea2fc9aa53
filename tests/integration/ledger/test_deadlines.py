"""The clock beside a real log and a real ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from api.database.accepting import Accepting
from api.database.database import Database
from api.recorder import Recorder
from api.upkeep.deadlines import Deadlines
from common import wire
from common.events import JobFailed, JobStarted
from common.job import JobSpec, JobState
from common.job_log import JobLog
from common.scaling import ScalingSettings
from common.topic import CONTROL, EVENTS, UPDATES
from tests.ledger import new_job, the_job, until

pytestmark = pytest.mark.anyio
SOON = 15.0  # seconds, on the busiest machine


@pytest.fixture
async def ticking(log: JobLog, database: Database) -> AsyncIterator[None]:
    """Two clocks, as two recorders have them."""
    clocks = [Deadlines(log=log, database=database) for _ in range(2)]
    tasks = [asyncio.create_task(clock.run()) for clock in clocks]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for clock in clocks:
        await clock.close()


async def told(log: JobLog, topic: str) -> list[str]:
    subscription = await log.subscribe({topic: 1}, group=None)
    found = await subscription.receive(100, 10.0)
    await subscription.close()
    read = wire.decode_control if topic == CONTROL else wire.decode_update
    said = [read(delivery.value, delivery.headers) for delivery in found]
    return [message.job for message in said if not isinstance(message, ScalingSettings)]


@pytest.mark.usefixtures("ticking")
async def test_a_job_ends_soon_after_its_time_and_everyone_is_told_once(
    log: JobLog, database: Database, accepting: Accepting
) -> None:
    soon = time.time() + 1.0
    made = [
        new_job(spec=JobSpec(model="darkroom/echo", start_by=soon)),
        new_job(cancel_at=soon + 0.3),
        new_job(),
    ]
    for job in made:
        await accepting.accept(job)

    async def ended() -> bool:
        return all([(await the_job(database, job.id)).state.terminal for job in made[:2]])

    await until(ended)
    for job in made[:2]:
        now = await the_job(database, job.id)
        due = now.spec.start_by or now.cancel_at
        assert now.completed_at is not None
        assert due is not None
        assert 0 <= now.completed_at - due < SOON
    assert (await the_job(database, made[2].id)).state is JobState.STARTING
    for topic in (CONTROL, UPDATES):
        await until(lambda topic=topic: _has(log, topic, 2))  # type: ignore[misc]
        assert sorted(await told(log, topic)) == sorted(job.id for job in made[:2])


@pytest.mark.usefixtures("ticking")
async def test_what_started_or_ended_in_time_counts_though_nobody_recorded_it_until_later(
    log: JobLog, database: Database, accepting: Accepting
) -> None:
    soon = time.time() + 0.5
    begun, unstarted = (
        new_job(spec=JobSpec(model="darkroom/echo", start_by=soon)) for _ in range(2)
    )
    done = new_job(cancel_at=soon)
    for job in (begun, unstarted, done):
        await accepting.accept(job)
    start = JobStarted(job=begun.id, token="t", at=time.time(), worker="w")
    end = JobFailed(job=done.id, token="t", at=time.time(), error="It broke.", code="broken")
    for event in (start, end):
        await log.append(EVENTS, event.job, wire.encode(event), wire.HEADERS)
    await asyncio.sleep(soon + 1.0 - time.time())
    recording = asyncio.create_task(Recorder(log=log, database=database).run())

    async def ended() -> bool:
        return (await the_job(database, unstarted.id)).state.terminal

    await until(ended)
    assert (await the_job(database, unstarted.id)).error_code == "deadline_passed"
    assert (await the_job(database, begun.id)).state is JobState.PROCESSING
    assert (await the_job(database, done.id)).error_code == "broken"
    recording.cancel()
    await asyncio.wait([recording])


async def _has(log: JobLog, topic: str, count: int) -> bool:
    bounds = await log.bounds({topic: None})
    return sum(each.end for each in bounds.values()) >= count
