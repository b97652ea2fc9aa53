"""The sweeper on a real log and a real ledger: what is gone comes back, what waits is left."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from api.database.accepting import Accepting
from api.database.database import Database
from api.database.tables import jobs
from api.recorder import Recorder
from api.sweeper import Sweeper
from common import wire
from common.events import JobStarted, JobSucceeded
from common.job import Job, JobSpec, JobState, Output, Priority
from common.job_log import Delivery, JobLog, Subscription, open_job_log
from common.topic import EVENTS, consumer_group, job_groups, job_topic, job_topics
from tests.ledger import new_job, the_job

pytestmark = pytest.mark.anyio

MODEL = "darkroom/echo"


def sweeper_of(log: JobLog, database: Database, models: tuple[str, ...] = (MODEL,)) -> Sweeper:
    return Sweeper(log=log, database=database, models=models, every_seconds=0.1, after_seconds=30.0)


async def submit(log: JobLog, accepting: Accepting, *made: Job, keep: bool = True) -> None:
    """As the API does it: commit, append, keep the position."""
    await asyncio.gather(*(accepting.accept(job) for job in made))
    for job in made:
        topic = job_topic(job.spec.model, job.spec.priority)
        position = await log.append(topic, job.id, wire.encode(job.spec), wire.HEADERS)
        if keep:
            accepting.keep_position(job.id, position)


async def age(database: Database, seconds: float) -> None:
    """Let time pass for every row."""
    older = {
        "created_at": jobs.c.created_at - seconds,
        "appended_at": jobs.c.appended_at - seconds,
    }
    async with database.write() as connection:
        await connection.execute(update(jobs).values(older))


async def settled(database: Database, accepting: Accepting) -> None:
    """The positions are written, and all that happened did so a minute ago."""
    await accepting.close()
    await age(database, 60.0)


async def consume(log: JobLog, model: str = MODEL) -> Subscription:
    return await log.subscribe(job_topics(model), group=consumer_group(model))


async def take(subscription: Subscription, count: int) -> list[Delivery]:
    found: list[Delivery] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await subscription.receive(count - len(found), 1.0)
    return found


async def waiting(log: JobLog, model: str = MODEL) -> int:
    bounds = await log.bounds(job_groups(model))
    return sum(each.end - each.start for each in bounds.values())


async def succeed(log: JobLog, delivery: Delivery) -> None:
    token = secrets.token_hex(8)
    for event in (
        JobStarted(job=delivery.key, token=token, at=1.0, worker="w"),
        JobSucceeded(
            job=delivery.key, token=token, at=2.0, output=Output(text="x"), predict_time=0.1
        ),
    ):
        await log.append(EVENTS, event.job, wire.encode(event), wire.HEADERS)


async def position_of(database: Database, job: Job) -> Any:
    query = select(jobs.c.log_topic, jobs.c.log_partition, jobs.c.log_offset)
    async with database.read() as connection:
        return (await connection.execute(query.where(jobs.c.id == job.id))).one()


@pytest.fixture
async def logs(
    request: pytest.FixtureRequest, log_url: str, tmp_path: Path
) -> AsyncIterator[Callable[[], Awaitable[JobLog]]]:
    """Each call gives an empty log: what is left after a wipe."""
    opened: list[JobLog] = []

    async def empty() -> JobLog:
        url = log_url
        if url.startswith("sqlite"):
            url = f"sqlite:///{tmp_path}/wiped-{len(opened)}.sqlite"
        elif opened:
            url = url.split("?")[0] + f"?prefix={secrets.token_hex(6)}."
        opened.append(await open_job_log(url))
        return opened[-1]

    yield empty
    for log in opened:
        await log.close()


@pytest.mark.usefixtures("recording")
async def test_what_waits_or_runs_is_left_alone(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    made = [new_job() for _ in range(8)]
    await submit(log, accepting, *made)
    consumer = await consume(log)
    await take(consumer, 3)
    await settled(database, accepting)
    sweeper = sweeper_of(log, database)
    for _ in range(3):
        assert await sweeper.round() == 0
    assert await waiting(log) == 8
    await consumer.close()


@pytest.mark.usefixtures("recording")
async def test_what_was_done_is_left_alone_even_when_it_was_not_recorded_yet(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    made = [new_job() for _ in range(30)]
    await submit(log, accepting, *made)
    await settled(database, accepting)
    consumer = await consume(log)
    sweeper = sweeper_of(log, database)
    for delivery in await take(consumer, 30):
        await succeed(log, delivery)
        await consumer.acknowledge(delivery)
        assert await sweeper.round() == 0
    for job in made:
        assert (await the_job(database, job.id)).state is JobState.SUCCEEDED
    await consumer.close()


@pytest.mark.usefixtures("recording")
async def test_an_acknowledged_job_without_an_end_is_appended_again(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    gone, high = new_job(), new_job(spec=JobSpec(model=MODEL, priority=Priority.HIGH))
    await submit(log, accepting, gone, high)
    await settled(database, accepting)
    consumer = await consume(log)
    for delivery in await take(consumer, 2):
        await consumer.acknowledge(delivery)
    sweeper = sweeper_of(log, database)
    assert await sweeper.round() == 2
    assert await sweeper.round() == 0
    again = {delivery.key: delivery for delivery in await take(consumer, 2)}
    for job in (gone, high):
        delivery = again[job.id]
        assert wire.decode_spec(delivery.value, delivery.headers) == job.spec
        assert delivery.position == await position_of(database, job)
        assert delivery.position.topic == job_topic(MODEL, job.spec.priority)
    await consumer.close()


@pytest.mark.usefixtures("recording")
async def test_a_job_without_a_position_is_appended_after_its_time(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    """In the lane that it was given: else one owner's many would stand before others' jobs."""
    plain, lower = new_job(), new_job(lane=Priority.LOW)
    await asyncio.gather(accepting.accept(plain), accepting.accept(lower))
    sweeper = sweeper_of(log, database)
    assert await sweeper.round() == 0
    await age(database, 31.0)
    assert await sweeper.round() == 2
    assert await sweeper.round() == 0
    consumer = await consume(log)
    assert {each.key: each.position.topic for each in await take(consumer, 2)} == {
        plain.id: job_topic(MODEL, Priority.NORMAL),
        lower.id: job_topic(MODEL, Priority.LOW),
    }
    await consumer.close()


@pytest.mark.usefixtures("recording")
async def test_a_model_that_left_the_catalogue_is_swept_too(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    made = [new_job(model=name) for name in ("a/gone", "b/gone", MODEL)]
    for job in made:
        await accepting.accept(job)
    await age(database, 31.0)
    assert await sweeper_of(log, database).round() == 3
    assert await waiting(log, "a/gone") == await waiting(log, "b/gone") == 1


async def test_after_a_wipe_every_job_comes_back_once(
    database: Database,
    accepting: Accepting,
    logs: Callable[[], Awaitable[JobLog]],
) -> None:
    old = await logs()
    made = [new_job() for _ in range(40)]
    recorder = asyncio.create_task(Recorder(log=old, database=database).run())
    await submit(old, accepting, *made)
    consumer = await consume(old)
    for delivery in (await take(consumer, 15))[:10]:
        await succeed(old, delivery)
        await consumer.acknowledge(delivery)
    assert await sweeper_of(old, database).round() == 0
    await consumer.close()
    await settled(database, accepting)
    recorder.cancel()
    await asyncio.wait([recorder])

    new = await logs()
    recorder = asyncio.create_task(Recorder(log=new, database=database).run())
    late = Accepting(database)
    fresh = new_job()
    await submit(new, late, fresh)
    await late.close()
    sweeper = sweeper_of(new, database)
    consumer = await consume(new)
    ended: set[str] = set()
    async with asyncio.timeout(120):
        while len(ended) < 31:
            await sweeper.round()
            for delivery in await consumer.receive(50, 0.2):
                await succeed(new, delivery)
                await consumer.acknowledge(delivery)
                ended.add(delivery.key)
            # Offsets of the old log and of the new one can be the same for a while.
            await age(database, 60.0)
    assert await sweeper.round() == 0
    for job in [*made, fresh]:
        assert (await the_job(database, job.id)).state is JobState.SUCCEEDED
    await consumer.close()
    recorder.cancel()
    await asyncio.wait([recorder])


async def test_nothing_is_swept_while_the_recorder_is_behind(
    database: Database, log: JobLog, accepting: Accepting, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = new_job()
    await submit(log, accepting, job)
    await settled(database, accepting)
    consumer = await consume(log)
    [delivery] = await take(consumer, 1)
    await succeed(log, delivery)
    await consumer.acknowledge(delivery)
    sweeper = sweeper_of(log, database)
    round_ = asyncio.create_task(sweeper.round())
    done, _ = await asyncio.wait([round_], timeout=1.0)
    assert not done
    recorder = asyncio.create_task(Recorder(log=log, database=database).run())
    assert await round_ == 0
    assert (await the_job(database, job.id)).state is JobState.SUCCEEDED
    await consumer.close()
    recorder.cancel()
    await asyncio.wait([recorder])


@pytest.mark.usefixtures("recording")
async def test_two_sweepers_append_a_job_once(
    database: Database, log: JobLog, accepting: Accepting, ledger_url: str
) -> None:
    made = [new_job() for _ in range(20)]
    await asyncio.gather(*(accepting.accept(job) for job in made))
    await age(database, 31.0)
    other = await Database.open(ledger_url)
    tasks = [asyncio.create_task(sweeper_of(log, each).run()) for each in (database, other, other)]
    consumer = await consume(log)
    assert {each.key for each in await take(consumer, 20)} == {job.id for job in made}
    assert await consumer.receive(1, 1.0) == []
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await consumer.close()
    await other.close()


@pytest.mark.usefixtures("recording")
async def test_what_its_start_by_is_about_to_end_is_not_appended(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    now = time.time()
    late, timely = (
        new_job(spec=JobSpec(model=MODEL, start_by=start_by)) for start_by in (now - 1, now + 600)
    )
    for job in (late, timely):
        await accepting.accept(job)
    await age(database, 31.0)
    assert await sweeper_of(log, database).round() == 1
    consumer = await consume(log)
    [delivery] = await take(consumer, 1)
    assert delivery.key == timely.id
    assert wire.decode_spec(delivery.value, delivery.headers) == timely.spec
    await consumer.close()


@pytest.mark.usefixtures("recording")
async def test_what_started_in_time_and_was_lost_starts_again_whatever_the_time(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    job = new_job(spec=JobSpec(model=MODEL, start_by=time.time() - 1))
    await submit(log, accepting, job)
    started = JobStarted(job=job.id, token="t", at=1.0, worker="w")
    await log.append(EVENTS, job.id, wire.encode(started), wire.HEADERS)
    consumer = await consume(log)
    await consumer.acknowledge(*await take(consumer, 1))  # as one that finds it too late does
    await settled(database, accepting)
    assert await sweeper_of(log, database).round() == 1
    [delivery] = await take(consumer, 1)
    assert wire.decode_spec(delivery.value, delivery.headers).start_by is None
    await consumer.close()


@pytest.mark.usefixtures("recording")
async def test_what_is_appended_again_stays_in_its_trace(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced, untraced = new_job(traceparent=traceparent), new_job()
    for job in (traced, untraced):
        await accepting.accept(job)
    await age(database, 31.0)
    assert await sweeper_of(log, database).round() == 2
    consumer = await consume(log)
    headers = {each.key: dict(each.headers) for each in await take(consumer, 2)}
    assert headers[traced.id] == {**wire.HEADERS, "traceparent": traceparent}
    assert headers[untraced.id] == wire.HEADERS
    await consumer.close()
