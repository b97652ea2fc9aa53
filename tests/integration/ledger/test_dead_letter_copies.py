"""A dead letter's copy on a real log, beside the work and never as work."""

from __future__ import annotations

import pytest

from api.database import positions
from api.database.accepting import Accepting
from api.database.database import Database
from api.database.positions import Appended
from common import wire
from common.events import JobFailed
from common.job import Priority
from common.job_log import JobLog, Position
from common.topic import EVENTS, dead_letter_topic, job_groups
from tests.integration.ledger.test_recorder import all_of, caught_up
from tests.ledger import new_job, until

pytestmark = pytest.mark.anyio

MODEL = "darkroom/echo"


async def fail(log: JobLog, job: str, code: str) -> None:
    event = JobFailed(job=job, token="t", at=5.0, code=code, error="It did not work.")
    await log.append(EVENTS, job, wire.encode(event), wire.HEADERS)


@pytest.mark.usefixtures("recording")
async def test_a_letters_copy_says_why_and_where_the_job_came_from(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    placed, unplaced, bad = new_job(), new_job(lane=Priority.LOW), new_job()
    for job in (placed, unplaced, bad):
        await accepting.accept(job)
    position = Position("jobs.darkroom--echo.normal", 3, 41)
    async with database.write() as connection:
        await positions.keep(connection, {placed.id: Appended(position, 1.0)})
    await fail(log, bad.id, "bad_input")
    await fail(log, placed.id, "engine_crashed")
    await fail(log, unplaced.id, "input_missing")
    copies = {copy.key: copy for copy in await all_of(log, dead_letter_topic(MODEL), 2)}
    assert copies.keys() == {placed.id, unplaced.id}
    copy = copies[placed.id]
    assert wire.decode_spec(copy.value, copy.headers) == placed.spec
    assert copy.headers == {
        **wire.HEADERS,
        "cause": "engine_crashed",
        "attempts": "0",
        "original_topic": "jobs.darkroom--echo.normal",
        "original_partition": "3",
        "original_offset": "41",
    }
    assert copies[unplaced.id].headers == {
        **wire.HEADERS,
        "cause": "input_missing",
        "attempts": "0",
        "original_topic": "jobs.darkroom--echo.low",
    }


@pytest.mark.usefixtures("recording")
async def test_copies_are_no_work_for_anyone(
    database: Database, log: JobLog, accepting: Accepting
) -> None:
    job = new_job()
    await accepting.accept(job)
    await fail(log, job.id, "engine_crashed")
    await all_of(log, dead_letter_topic(MODEL), 1)
    bounds = await log.bounds(job_groups(MODEL))
    assert sum(each.lag for each in bounds.values()) == 0
    await until(lambda: caught_up(log))
