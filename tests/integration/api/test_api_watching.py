"""How changes reach those who watch, and what that costs the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.database import Database
from api.live.waiting import Waiters
from api.live.watching import MOST_PENDING, Change, Watch, Watching
from common import topic, wire
from common.events import JobProgress, JobStarted, JobUpdate
from common.job import JobState
from tests.integration.api.running import DEADLINE, Api
from tests.ledger import new_job, until

pytestmark = pytest.mark.anyio


class Counting(Database):
    """A ledger that counts who reads."""

    def __init__(self, real: Database) -> None:
        self._real = real
        self.reads = 0

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        self.reads += 1
        return self._real.read()

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._real.write()

    def statement(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._real.statement()

    def alone(self, name: str) -> AbstractAsyncContextManager[bool]:
        return self._real.alone(name)

    async def close(self) -> None:
        """The real one is closed by whoever opened it."""


@pytest.fixture
async def counting(api: Api) -> Counting:
    return Counting(api.database)


@pytest.fixture
async def watching(api: Api, counting: Counting) -> AsyncIterator[Watching]:
    heard: list[JobUpdate] = []
    watching = Watching(api.log, counting, told=heard.append)
    watching.start()
    canary = JobUpdate(job="none", owner="nobody", state=JobState.FAILED, sequence=1)

    async def follows() -> bool:
        await api.log.append(topic.UPDATES, canary.job, wire.encode(canary), wire.HEADERS)
        return bool(heard)

    await until(follows)
    yield watching
    await watching.close()


async def test_a_wait_reads_the_database_once_at_the_end(
    api: Api, jpeg: bytes, watching: Watching, counting: Counting
) -> None:
    made = await api.submit(jpeg)
    job = await api.parts.job("local", made["id"])
    waiters = Waiters(watching)
    with waiters.expect(job.id) as watch:
        waiting = asyncio.create_task(waiters.ended(job, watch, DEADLINE))
        await api.say(JobStarted(job=job.id, token="t1", at=time.time(), worker="w1"))
        await api.say(JobProgress(job=job.id, token="t1", at=time.time(), fraction=0.5))
        await api.shows(made, "processing")
        await asyncio.sleep(1)  # in which a loop would read
        assert counting.reads == 0
        await api.succeed(job.id, text="done")
        assert (await waiting).state is JobState.SUCCEEDED
    assert counting.reads == 1


async def test_a_row_is_read_once_however_many_watch_it(
    api: Api, jpeg: bytes, watching: Watching, counting: Counting
) -> None:
    made = await api.submit(jpeg)
    with ExitStack() as watches:
        all_of_it = [watches.enter_context(watching.job(made["id"])) for _ in range(50)]
        all_of_it += [watches.enter_context(watching.owner("local")) for _ in range(50)]
        others = watches.enter_context(watching.owner("another"))
        await api.fail(made["id"], "bad_input", "The PNG is damaged: send it again.")
        seen = await asyncio.gather(*(watch.next(DEADLINE) for watch in all_of_it))
        assert {changes[0].job.state for changes in seen} == {JobState.FAILED}
        assert len({id(changes[0]) for changes in seen}) == 1
        assert await others.next(0.1) == []
    assert counting.reads == 1
    await api.submit(jpeg)
    assert counting.reads == 1  # of what nobody watches nothing is read


async def test_every_process_hears_of_a_job_that_another_accepted(
    api: Api, jpeg: bytes, watching: Watching
) -> None:
    made = await api.submit(jpeg)
    second = Watching(api.log, api.database, told=api.parts.queues.take)
    second.start()
    async with AsyncExitStack() as ends:
        ends.push_async_callback(second.close)
        with watching.job(made["id"]) as one, second.job(made["id"]) as two:
            await api.succeed(made["id"], text="done")

            async def ended(watch: Watch) -> None:
                while not any(c.job.state.terminal for c in await watch.next(DEADLINE)):
                    continue

            async with asyncio.timeout(DEADLINE):
                await asyncio.gather(ended(one), ended(two))


async def test_a_watcher_that_does_not_look_keeps_one_change_of_a_job() -> None:
    watch, job = Watch(ends_only=False), new_job()
    for _ in range(5000):
        watch.put(Change(job, "1-1"))
    assert len(await watch.next(1)) == 1


async def test_a_watcher_that_is_too_slow_is_told_that_it_missed_something() -> None:
    watch = Watch(ends_only=False)
    for _ in range(MOST_PENDING):
        watch.put(Change(new_job(), "1-1"))
    assert not watch.missed
    watch.put(Change(new_job(), "1-2"))
    assert watch.missed
    assert await watch.next(1) == []


async def test_a_process_that_stops_ends_every_wait_at_once(
    api: Api, jpeg: bytes, watching: Watching
) -> None:
    job = await api.parts.job("local", (await api.submit(jpeg))["id"])
    waiters = Waiters(watching)
    with waiters.expect(job.id) as watch:
        waiting = asyncio.create_task(waiters.ended(job, watch, 60))
        await asyncio.sleep(0)
        watching.leave()
        async with asyncio.timeout(5):
            assert (await waiting).state is JobState.STARTING
            assert await waiters.ended(job, watch, 60) == job
