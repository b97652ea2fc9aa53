"""Darkroom without its HTTP and its engines: the real ledger, log, recorder, sweeper and clock."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select, text

from api.access.backlog import Backlog
from api.cancel import Canceler
from api.database.accepting import Accepting
from api.database.database import Database
from api.database.tables import jobs, webhook_deliveries
from api.recorder import Recorder
from api.repeating import PUT
from api.submit import Submitter
from api.sweeper import Sweeper
from api.upkeep.deadlines import Deadlines
from common import wire
from common.errors import LogUnavailable
from common.events import JobEnd, JobEvent, JobUpdate
from common.job import Job
from common.job_log import Delivery, Position, Subscription, open_job_log
from common.object_store import ObjectStore, open_object_store
from common.topic import EVENTS, UPDATES, consumer_group, job_topics
from tests.faults.interleavings.cuts import Course, Cut, CutDatabase, CutLog
from tests.passing_log import PassingLog

MODEL = "darkroom/echo"


class Append(Enum):
    """What becomes of a message that is appended to a topic of jobs."""

    LANDS = "lands"
    LOST = "lost"  # and the one who appends knows nothing of it
    UNHEARD = "unheard"  # it landed, and the one who appends knows nothing of it
    TWICE = "twice"


class WipedLog(PassingLog):
    """One log after another: each wipe leaves a new and empty one in the same place."""

    def __init__(self, folder: Path) -> None:  # and then open it
        self._folder, self.wipes = folder, 0
        self.append_as = Append.LANDS
        self.copies: dict[str, set[Position]] = defaultdict(set)  # of each job, unacknowledged

    async def open(self) -> None:
        self.log = await open_job_log(f"sqlite:///{self._folder}/log-{self.wipes}.sqlite")

    async def wipe(self) -> None:
        await self.log.close()
        self.wipes += 1
        self.copies.clear()
        await self.open()

    async def append(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str]
    ) -> Position:
        if topic not in job_topics(MODEL):
            return await super().append(topic, key, value, headers)
        how, self.append_as = self.append_as, Append.LANDS
        if how is Append.LOST:
            raise LogUnavailable("it was lost")
        for _ in range(2 if how is Append.TWICE else 1):
            position = await super().append(topic, key, value, headers)
            self.copies[key].add(position)
        if how is Append.UNHEARD:
            raise LogUnavailable("the answer was lost")
        return position


class World:
    """One Darkroom. `said` are the events on today's log, by offset."""

    def __init__(self, database: Database, log: WipedLog, store: ObjectStore) -> None:
        self.database, self.log, self._store = database, log, store
        self.deadlines = Deadlines(log=log, database=database)
        self.sweeper = Sweeper(
            log=log, database=database, models=[MODEL], every_seconds=1.0, after_seconds=30.0
        )
        self.said: dict[int, JobEvent] = {}
        self._recorded: set[int] = set()  # offsets of `said`
        self.consumer: Subscription | None = None
        self._updates: Subscription | None = None
        self._paused: tuple[asyncio.Task[None], Course] | None = None

    @classmethod
    async def open(cls, ledger_url: str, folder: Path) -> World:
        """On an empty log, and with nothing in the ledger."""
        database = await Database.open(ledger_url)
        async with database.write() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(text("TRUNCATE jobs CASCADE"))
        log = WipedLog(folder)
        await log.open()
        return cls(database, log, await open_object_store(f"file://{folder}/objects"))

    async def close(self) -> None:
        await self.wipe()
        await self.deadlines.close()
        await self.log.close()
        await self.database.close()

    async def submit(self, job: Job, append: Append, *, again: bool = False) -> Job:
        """As a process of the API does it, that then stops."""
        accepting = Accepting(self.database)
        submitter = Submitter(
            log=self.log,
            store=self._store,
            database=self.database,
            accepting=accepting,
            backlog=Backlog(self.database),
            burst=0,
        )
        self.log.append_as = append
        if again:
            accepted = (await submitter.accept_once(job, None, route=PUT, key=None)).job
        else:
            accepted = await submitter.accept(job, None)
        self.log.append_as = Append.LANDS
        await submitter.close()
        await accepting.close()
        return accepted

    async def cancel(self, job_id: str) -> Job | None:
        canceler = Canceler(log=self.log, database=self.database)
        job = await canceler.cancel(job_id, code="canceled", error="You canceled it.")
        await canceler.close()
        return job

    async def take(self, most: int) -> tuple[Subscription, list[Delivery]]:
        """What a consumer receives, which holds it until it dies."""
        if self.consumer is None:
            topics = job_topics(MODEL)
            self.consumer = await self.log.subscribe(topics, group=consumer_group(MODEL))
        return self.consumer, await self.consumer.receive(most, 0)

    async def kill_consumer(self) -> None:
        """Its deliveries go to the next one. What it would still say, it may say later."""
        if self.consumer is not None:
            await self.consumer.close()
            self.consumer = None

    async def acknowledge(self, by: Subscription, delivery: Delivery) -> None:
        """Nothing comes of it if the consumer has died since."""
        if by is self.consumer:
            await by.acknowledge(delivery)
            self.log.copies[delivery.key].discard(delivery.position)

    async def release(self, by: Subscription, delivery: Delivery) -> None:
        if by is self.consumer:
            await by.release(delivery)

    async def say(self, event: JobEvent) -> None:
        position = await self.log.append(EVENTS, event.job, wire.encode(event), wire.HEADERS)
        self.said[position.offset] = event

    async def record(self, cut: Cut, most: int, at_once: int) -> list[JobEvent]:
        """Let a recorder run until it is cut off or done; the events that it committed."""
        course = Course(cut, most, at_once if cut is Cut.NOWHERE else most)
        recorder = Recorder(
            log=CutLog(self.log, course), database=CutDatabase(self.database, course)
        )
        task = asyncio.create_task(recorder.run())
        await asyncio.wait_for(course.over.wait(), 60)
        if cut is Cut.BEFORE_COMMIT and course.batch and self._paused is None:
            self._paused = task, course
        else:
            await _end(task)
        return self._events(course.committed)

    async def resume_recorder(self) -> list[JobEvent]:
        """The recorder that stands before its commit goes on, however much happened since."""
        if self._paused is None:
            return []
        task, course = self._paused
        self._paused = None
        course.over.clear()
        course.resumed.set()
        await asyncio.wait_for(course.over.wait(), 60)
        await _end(task)
        return self._events(course.committed)

    async def kill_recorder(self) -> None:
        if self._paused is not None:
            await _end(self._paused[0])
            self._paused = None

    async def wipe(self) -> None:
        """The log is gone with all that nobody recorded, and an empty one takes its place."""
        await self.kill_recorder()
        await self.kill_consumer()
        if self._updates is not None:
            await self._updates.close()
            self._updates = None
        self.said.clear()
        self._recorded.clear()
        await self.log.wipe()

    async def updates(self) -> list[JobUpdate]:
        """What was told since this was asked last, or since the wipe."""
        if self._updates is None:
            self._updates = await self.log.subscribe({UPDATES: 1}, group=None)
        found = await self._updates.receive(1000, 0)
        return [wire.decode_update(each.value, each.headers) for each in found]

    async def rows(self) -> dict[str, Row[Any]]:
        """Every job as the ledger has it."""
        async with self.database.read() as connection:
            return {row.id: row for row in await connection.execute(select(jobs))}

    async def webhooks(self) -> list[str]:
        """The ids of all that is to be sent."""
        async with self.database.read() as connection:
            return list(await connection.scalars(select(webhook_deliveries.c.id)))

    def end_waits(self, job_id: str) -> bool:
        """Whether the log holds an end of the job that nobody recorded yet."""
        return any(
            event.job == job_id and isinstance(event, JobEnd) and offset not in self._recorded
            for offset, event in self.said.items()
        )

    def _events(self, deliveries: Sequence[Delivery]) -> list[JobEvent]:
        self._recorded.update(delivery.position.offset for delivery in deliveries)
        return [self.said[delivery.position.offset] for delivery in deliveries]


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
