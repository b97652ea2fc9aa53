"""Events on a real log, and what becomes of their jobs in a real ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from api.database.accepting import Accepting
from api.database.database import Database
from api.database.ending import cancel
from api.database.tables import attempts, jobs, rejected_events
from api.recorder import GROUP, Recorder
from common import wire
from common.events import (
    CancelJob,
    JobCanceled,
    JobEvent,
    JobFailed,
    JobProgress,
    JobReleased,
    JobStarted,
    JobSucceeded,
    JobUpdate,
)
from common.job import Job, JobState, Output, OutputFile
from common.job_log import Delivery, JobLog
from common.topic import CONTROL, EVENTS, UPDATES
from tests.integration.ledger.half_log import HalfLog
from tests.ledger import new_job, the_job, until

pytestmark = pytest.mark.anyio


def started(job: Job, token: str, at: float = 1.0) -> JobStarted:
    return JobStarted(job=job.id, token=token, at=at, worker="worker")


def succeeded(job: Job, token: str, text: str = "a red circle", at: float = 9.0) -> JobSucceeded:
    output = Output(text=text)
    return JobSucceeded(job=job.id, token=token, at=at, output=output, predict_time=0.5)


async def say(log: JobLog, *events: JobEvent) -> None:
    for event in events:
        await log.append(EVENTS, event.job, wire.encode(event), wire.HEADERS)


async def caught_up(log: JobLog) -> bool:
    bounds = await log.bounds({EVENTS: GROUP})
    return all(each.committed == each.end for each in bounds.values())


async def recorded(log: JobLog) -> None:
    """Wait until the recorder has acknowledged all events."""
    await until(lambda: caught_up(log))


async def all_of(log: JobLog, topic: str, count: int) -> list[Delivery]:
    """The first `count` messages of a topic, or more if more are there."""
    subscription = await log.subscribe({topic: 1}, group=None)
    found: list[Delivery] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await subscription.receive(1000, 1.0)
    await subscription.close()
    return found


async def rows(database: Database) -> list[Sequence[Any]]:
    """Everything that the recorder writes."""
    async with database.read() as connection:
        return [
            (await connection.execute(select(table).order_by(*table.primary_key))).all()
            for table in (jobs, attempts, rejected_events)
        ]


async def accepted(accepting: Accepting, count: int = 1) -> list[Job]:
    made = [new_job() for _ in range(count)]
    await asyncio.gather(*(accepting.accept(job) for job in made))
    return made


@pytest.mark.usefixtures("recording")
async def test_a_job_goes_through_its_states(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    [job] = await accepted(accepting)
    await say(log, started(job, "one", at=5.0))
    await recorded(log)
    running = await the_job(database, job.id)
    assert (running.state, running.attempt, running.started_at, running.sequence) == (
        JobState.PROCESSING,
        1,
        5.0,
        1,
    )
    await say(
        log,
        JobProgress(job=job.id, token="one", at=6.0, fraction=0.5),
        JobProgress(job=job.id, token="one", at=6.5, fraction=0.25),
        JobProgress(job=job.id, token="other", at=6.5, fraction=0.75),
    )
    await recorded(log)
    assert (await the_job(database, job.id)).progress == 0.5
    await say(log, succeeded(job, "one"))
    await recorded(log)
    ended = await the_job(database, job.id)
    assert ended == msgspec.structs.replace(
        job,
        state=JobState.SUCCEEDED,
        sequence=3,
        attempt=1,
        started_at=5.0,
        completed_at=9.0,
        predict_time=0.5,
        output=Output(text="a red circle"),
    )
    updates = [
        wire.decode_update(each.value, each.headers) for each in await all_of(log, UPDATES, 3)
    ]
    assert updates[-1] == JobUpdate(
        job=job.id,
        owner="local",
        state=JobState.SUCCEEDED,
        sequence=3,
        model=job.spec.model,
        at=9.0,
        started_at=5.0,
        predict_time=0.5,
    )
    assert (updates[1].progress, updates[1].model) == (0.5, job.spec.model)
    assert [update.sequence for update in updates] == sorted(u.sequence for u in updates)


@pytest.mark.usefixtures("recording")
async def test_a_released_job_starts_anew_and_its_winner_counts(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    [job] = await accepted(accepting)
    await say(
        log,
        started(job, "one", at=1.0),
        JobReleased(job=job.id, token="one", at=2.0, reason="shutdown"),
    )
    await recorded(log)
    assert (await the_job(database, job.id)).state is JobState.STARTING
    await say(log, started(job, "two", at=3.0), started(job, "three", at=4.0))
    await say(log, succeeded(job, "two"), succeeded(job, "three", text="too late"))
    await recorded(log)
    ended = await the_job(database, job.id)
    assert (ended.attempt, ended.started_at, ended.output) == (3, 3.0, Output(text="a red circle"))


@pytest.mark.usefixtures("recording")
async def test_failures_and_cancellations_end_a_job(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    bad, stopped, canceled = await accepted(accepting, 3)
    async with database.write() as connection:
        await cancel(connection, canceled.id, code="canceled", error="Canceled.", at=3.0)
    await say(
        log,
        JobFailed(job=bad.id, token="t", at=4.0, code="bad_input", error="N\0o.", logs="l\0og"),
        JobCanceled(job=stopped.id, token="t", at=5.0),
        succeeded(canceled, "t"),
    )
    await recorded(log)
    failed = await the_job(database, bad.id)
    assert (failed.state, failed.error_code, failed.error, failed.logs) == (
        JobState.FAILED,
        "bad_input",
        "No.",
        "log",
    )
    assert (await the_job(database, stopped.id)).state is JobState.CANCELED
    still = await the_job(database, canceled.id)
    assert (still.state, still.output) == (JobState.CANCELED, None)


@pytest.mark.usefixtures("recording")
async def test_five_lost_starts_end_a_job_and_stop_the_sixth(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    lost, released = await accepted(accepting, 2)
    for number in range(5):
        await say(log, started(lost, f"t{number}"), started(lost, f"t{number}"))
        await say(log, started(released, f"t{number}"))
        await say(log, JobReleased(job=released.id, token=f"t{number}", at=2.0, reason="x"))
    await say(log, started(released, "t5"))
    await recorded(log)
    assert (await the_job(database, lost.id)).state is JobState.PROCESSING
    assert (await the_job(database, lost.id)).attempt == 5
    assert (await the_job(database, released.id)).attempt == 6
    await say(log, started(lost, "t5", at=7.0))
    await recorded(log)
    ended = await the_job(database, lost.id)
    assert (ended.state, ended.error_code, ended.attempt) == (JobState.FAILED, "consumer_lost", 5)
    [stop] = await all_of(log, CONTROL, 1)
    decoded = wire.decode_control(stop.value, stop.headers)
    assert isinstance(decoded, CancelJob)
    assert decoded.job == stop.key == lost.id


@pytest.mark.usefixtures("recording")
async def test_a_start_after_the_end_is_told_to_stop_unless_the_winner_repeats_itself(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    job, late = await accepted(accepting, 2)
    for each in (job, late):
        await say(log, started(each, "one"), succeeded(each, "one"), started(each, "one"))
    await say(log, started(late, "two"))
    await recorded(log)
    assert [each.key for each in await all_of(log, CONTROL, 1)] == [late.id]
    assert (await the_job(database, late.id)).attempt == 1


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize(
    "key",
    [
        "outputs/other/t/0.png",
        "outputs/{job}/other/0.png",
        "outputs/{job}/t/../../x/t/0.png",
        "outputs/{job}/t/..",
        "outputs/{job}/t/",
        "inputs/local/secret",
    ],
)
async def test_an_output_outside_its_own_folder_fails_the_job(
    database: Database, log: JobLog, accepting: Accepting, key: str
) -> None:
    job, good = await accepted(accepting, 2)

    def with_file(of: Job, key: str) -> JobSucceeded:
        file = OutputFile(key=key.format(job=of.id), content_type="image/png", size=3)
        return msgspec.structs.replace(succeeded(of, "t"), output=Output(files=(file,)))

    await say(log, with_file(job, key), with_file(good, "outputs/{job}/t/0.png"))
    await recorded(log)
    failed = await the_job(database, job.id)
    assert (failed.state, failed.error_code, failed.output) == (
        JobState.FAILED,
        "event_rejected",
        None,
    )
    assert (await the_job(database, good.id)).state is JobState.SUCCEEDED
    [kept] = (await rows(database))[2]
    assert kept.key == job.id
    assert wire.decode_event(kept.value, wire.HEADERS) == with_file(job, key)


@pytest.mark.usefixtures("recording")
async def test_what_cannot_be_read_or_applied_fails_its_job_and_nobody_elses(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    unreadable, unfit, good = await accepted(accepting, 3)
    await log.append(EVENTS, unreadable.id, b"{", wire.HEADERS)
    await log.append(EVENTS, "nobody\0", b"\xff", {})
    # No text of the ledger holds a NUL, and nothing strips one from a worker's name.
    worker = "w\0" if not _is_sqlite(database) else "w"
    await say(log, msgspec.structs.replace(started(unfit, "t\0"), worker=worker))
    await say(log, started(new_job(), "t"))
    await say(log, started(good, "t"), succeeded(good, "t"))
    await recorded(log)
    assert (await the_job(database, unreadable.id)).error_code == "event_rejected"
    assert (await the_job(database, good.id)).state is JobState.SUCCEEDED
    kept = (await rows(database))[2]
    if not _is_sqlite(database):
        assert (await the_job(database, unfit.id)).error_code == "event_rejected"
        assert len(kept) == 4
    else:
        assert len(kept) == 3


def _is_sqlite(database: Database) -> bool:
    return type(database).__name__ == "SqliteDatabase"


async def test_the_same_events_twice_give_the_same_rows(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    """As after a crash between the commit and the acknowledgement; the updates are told again."""
    made = await accepted(accepting, 6)
    await accepting.close()
    events: list[JobEvent] = []
    for number, job in enumerate(made):
        events += [
            started(job, f"{job.id}-{attempt}", at=1.0 + attempt) for attempt in range(number)
        ]
        events.append(JobReleased(job=job.id, token=f"{job.id}-0", at=5.0, reason="shutdown"))
        events.append(JobProgress(job=job.id, token=f"{job.id}-{number - 1}", at=5.0, fraction=0.5))
        if number % 2:
            events.append(succeeded(job, f"{job.id}-{number - 1}"))
    events.append(started(new_job(), "stray"))
    recorder = asyncio.create_task(Recorder(log=log, database=database).run())
    await say(log, *events)
    await log.append(EVENTS, made[0].id, b"not json", wire.HEADERS)
    await recorded(log)
    before = await rows(database)
    told = len(await all_of(log, UPDATES, 6))
    await say(log, *events)
    await log.append(EVENTS, made[0].id, b"not json", wire.HEADERS)
    await recorded(log)
    assert await rows(database) == before
    assert len(before[1]) == 15
    again = {each.key for each in (await all_of(log, UPDATES, told + 6))[told:]}
    assert again == {job.id for job in made}
    recorder.cancel()
    await asyncio.wait([recorder])


async def test_a_recorder_that_is_cut_off_anywhere_loses_nothing(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    made = await accepted(accepting, 120)

    async def work() -> None:
        for job in made:
            await say(log, started(job, job.id), succeeded(job, job.id))

    working = asyncio.create_task(work())
    while not working.done():
        recorder = asyncio.create_task(Recorder(log=log, database=database).run())
        await asyncio.wait([working], timeout=0.4)
        recorder.cancel()
        await asyncio.wait([recorder])
    await working
    recorder = asyncio.create_task(Recorder(log=log, database=database).run())
    await recorded(log)
    recorder.cancel()
    await asyncio.wait([recorder])
    for job in made:
        ended = await the_job(database, job.id)
        assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 1)


async def test_an_event_is_not_acknowledged_before_its_update_is_told(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    [job] = await accepted(accepting)
    half = HalfLog(log, closed=UPDATES)
    recorder = asyncio.create_task(Recorder(log=half, database=database).run())
    await say(log, succeeded(job, "t"))
    await asyncio.wait_for(half.tried.wait(), 60)
    with pytest.raises(TimeoutError):
        await until(lambda: caught_up(log), seconds=2)
    recorder.cancel()
    await asyncio.wait([recorder])
    recorder = asyncio.create_task(Recorder(log=log, database=database).run())
    [update] = await all_of(log, UPDATES, 1)
    assert update.key == job.id
    recorder.cancel()
    await asyncio.wait([recorder])
