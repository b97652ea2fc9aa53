"""The recorder's own log and ledger, real but for one place at which they stop for good, or lie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import Enum

from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.database import Database
from common.errors import LedgerUnavailable
from common.job_log import Delivery, JobLog, Position, Start, Subscription
from tests.passing_log import PassingLog


class Cut(Enum):
    """Where a recorder dies, or what it is told wrongly, in its first batch."""

    NOWHERE = "nowhere"
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"  # before anybody is told
    AFTER_TELLING = "after telling"  # before it acknowledges
    ANSWER_LOST = "answer lost"  # it is committed, and the recorder hears of an outage


class Course:
    """How far one run of the recorder is to go, and how far it came."""

    def __init__(self, cut: Cut, most: int, at_once: int) -> None:
        self.cut, self.left, self.at_once = cut, most, at_once
        self.over = asyncio.Event()  # it is cut off, or has no more to do
        self.resumed = asyncio.Event()
        self.committed: list[Delivery] = []
        self.batch: list[Delivery] = []  # in hand, not committed
        self.open = 0  # received, and not acknowledged

    async def reach(self, place: Cut) -> None:
        """Stay here, if it is the place."""
        if self.cut is place:
            if place is not Cut.BEFORE_COMMIT:
                self.commit()
            self.over.set()
            await self.resumed.wait()

    def commit(self) -> None:
        self.committed += self.batch
        self.batch = []


class CutDatabase(Database):
    """Every write is the commit of a batch, or of a part of it."""

    def __init__(self, database: Database, course: Course) -> None:
        self._database, self._course = database, course

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._database.read()

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._cut(self._database.write())

    def statement(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._cut(self._database.statement())

    def alone(self, name: str) -> AbstractAsyncContextManager[bool]:
        return self._database.alone(name)

    async def close(self) -> None:
        """The ledger is its owner's."""

    @asynccontextmanager
    async def _cut(
        self, transaction: AbstractAsyncContextManager[AsyncConnection]
    ) -> AsyncIterator[AsyncConnection]:
        await self._course.reach(Cut.BEFORE_COMMIT)
        async with transaction as connection:
            yield connection
        if self._course.cut is Cut.ANSWER_LOST:
            self._course.cut = Cut.NOWHERE
            raise LedgerUnavailable("the answer to COMMIT was lost")


class CutSubscription(Subscription):
    """Hands out what the course allows."""

    def __init__(self, subscription: Subscription, course: Course) -> None:
        self._subscription, self._course = subscription, course

    async def receive(self, limit: int, timeout: float) -> list[Delivery]:  # noqa: ARG002
        """Never waits: after what is there now, nothing comes any more."""
        course = self._course
        course.commit()  # whoever asks for more has committed what it had
        found: list[Delivery] = []
        if course.left:
            found = await self._subscription.receive(min(limit, course.left, course.at_once), 0)
        if not found:
            course.left = 0
            self._end()
            await asyncio.Event().wait()
        course.left -= len(found)
        course.open += len(found)
        course.batch = found
        return found

    async def acknowledge(self, *deliveries: Delivery) -> None:
        await self._course.reach(Cut.AFTER_TELLING)
        await self._subscription.acknowledge(*deliveries)
        self._course.open -= len(deliveries)
        self._end()

    async def release(self, *deliveries: Delivery) -> None:
        await self._subscription.release(*deliveries)

    async def holds(self, delivery: Delivery) -> bool:
        return await self._subscription.holds(delivery)

    async def close(self) -> None:
        await self._subscription.close()

    def _end(self) -> None:
        if not self._course.left and not self._course.open:
            self._course.over.set()


class CutLog(PassingLog):
    """The recorder appends nothing but what it tells of its commits."""

    def __init__(self, log: JobLog, course: Course) -> None:
        super().__init__(log)
        self._course = course

    async def append(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str]
    ) -> Position:
        await self._course.reach(Cut.AFTER_COMMIT)
        return await super().append(topic, key, value, headers)

    async def subscribe(
        self,
        topics: Mapping[str, int],
        *,
        group: str | None,
        start: Start = Start.EARLIEST,
        capacity: int = 1000,
    ) -> Subscription:
        found = await super().subscribe(topics, group=group, start=start, capacity=capacity)
        return CutSubscription(found, self._course)

    async def close(self) -> None:
        """The log is its owner's."""
