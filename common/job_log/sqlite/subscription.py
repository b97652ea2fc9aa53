"""Readers of the log over SQLite: those that share a group's messages, and those that get all."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from sqlite3 import Connection

from common.job_log.base import Delivery, Position, Subscription
from common.job_log.sqlite import leases, topics
from common.job_log.sqlite.doorbell import Doorbell
from common.job_log.sqlite.file import Commit, SqliteFile
from common.job_log.weights import WeightedChoice

_Giving = Callable[[Connection, leases.Reader, Sequence[Position]], None]


class SqliteSubscription(Subscription):
    """What both kinds share: fetch, and wait for the doorbell where there was nothing."""

    def __init__(self, file: SqliteFile, doorbell: Doorbell, choice: WeightedChoice) -> None:
        self._file = file
        self._doorbell = doorbell
        self._choice = choice
        self._ready: deque[Delivery] = deque()
        self._fetching: asyncio.Future[list[Delivery]] | None = None
        self._rung = asyncio.Event()
        self._closed = False
        doorbell.listen(choice.topics, self._rung.set)

    async def receive(self, limit: int, timeout: float) -> list[Delivery]:
        """As the contract says; nothing once the subscription was closed, at once."""
        deadline = asyncio.get_running_loop().time() + timeout
        while not self._closed:
            self._rung.clear()
            if not self._ready:
                await self._fetch(limit)
            if self._ready and not self._closed:
                return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
            try:
                async with asyncio.timeout_at(deadline):
                    await self._rung.wait()
            except TimeoutError:
                break
        return []

    @property
    def closed(self) -> bool:
        return self._closed

    async def close(self) -> None:
        self._closed = True
        self._doorbell.ignore(self._rung.set)
        self._rung.set()
        if self._fetching:
            await asyncio.wait({self._fetching})

    @abstractmethod
    def _ask(self, limit: int) -> asyncio.Future[list[Delivery]] | None:
        """Ask the file for messages; None where no more may be held."""

    def _arrived(self, deliveries: list[Delivery]) -> None:
        self._ready.extend(deliveries)

    async def _fetch(self, limit: int) -> None:
        """Fetch into `_ready`. A receive that is cancelled leaves what comes to the next one."""
        if self._fetching is None:
            self._fetching = self._ask(limit)
            if self._fetching is None:
                return
            self._fetching.add_done_callback(self._fetched)
        fetching = self._fetching
        await asyncio.wait({fetching})
        fetching.result()

    def _fetched(self, fetching: asyncio.Future[list[Delivery]]) -> None:
        self._fetching = None
        if fetching.exception() is None:
            self._arrived(fetching.result())


class BroadcastSubscription(SqliteSubscription):
    """Gets every message. Its places are its own, and nothing of it is in the file."""

    def __init__(
        self,
        file: SqliteFile,
        doorbell: Doorbell,
        choice: WeightedChoice,
        places: dict[str, int],
    ) -> None:
        super().__init__(file, doorbell, choice)
        self._places = places

    async def acknowledge(self, *deliveries: Delivery) -> None:
        """Nothing to do: there is no group."""

    async def release(self, *deliveries: Delivery) -> None:
        self._ready.extendleft(reversed(deliveries))
        self._rung.set()

    async def holds(self, delivery: Delivery) -> bool:  # noqa: ARG002
        """Never: there is no group."""
        return False

    def _ask(self, limit: int) -> asyncio.Future[list[Delivery]]:
        return self._file.submit(
            lambda db: topics.read(db, self._places, self._choice, limit), Commit.NONE
        )

    def _arrived(self, deliveries: list[Delivery]) -> None:
        super()._arrived(deliveries)
        for delivery in deliveries:
            self._places[delivery.position.topic] = delivery.position.offset + 1


class SharedSubscription(SqliteSubscription):
    """Shares its group's messages with the group's other readers, by a lease on each."""

    def __init__(
        self,
        file: SqliteFile,
        doorbell: Doorbell,
        choice: WeightedChoice,
        *,
        reader: leases.Reader,
        capacity: int,
        lease_seconds: float,
    ) -> None:
        super().__init__(file, doorbell, choice)
        self.reader = reader
        self._capacity = capacity
        self._lease_seconds = lease_seconds
        self._held: set[Position] = set()

    async def acknowledge(self, *deliveries: Delivery) -> None:
        await self._give(leases.finish, deliveries, Commit.ORDERED)

    async def release(self, *deliveries: Delivery) -> None:
        try:
            await self._give(leases.release, deliveries, Commit.ORDERED)
        finally:
            self._doorbell.ring({delivery.position.topic for delivery in deliveries})

    async def holds(self, delivery: Delivery) -> bool:
        position = delivery.position
        return await self._file.run(lambda db: leases.holds(db, self.reader, position), Commit.NONE)

    async def close(self) -> None:
        await super().close()
        await self._file.run(lambda db: leases.release_all(db, self.reader), Commit.ORDERED)
        self._doorbell.ring(self._choice.topics)

    def _ask(self, limit: int) -> asyncio.Future[list[Delivery]] | None:
        room = min(limit, self._capacity - len(self._held))
        if room <= 0:
            return None
        return self._file.submit(lambda db: self._lease(db, room), Commit.ORDERED)

    def _lease(self, db: Connection, limit: int) -> list[Delivery]:
        return leases.lease(db, self.reader, self._choice, limit, self._held, self._lease_seconds)

    def _arrived(self, deliveries: list[Delivery]) -> None:
        super()._arrived(deliveries)
        self._held.update(delivery.position for delivery in deliveries)

    async def _give(self, how: _Giving, deliveries: Sequence[Delivery], commit: Commit) -> None:
        """Give up what is held. A cancelled caller does not stop it."""
        positions = [delivery.position for delivery in deliveries]

        def let_go(_: asyncio.Future[None]) -> None:
            self._held.difference_update(positions)
            self._rung.set()

        giving = self._file.submit(lambda db: how(db, self.reader, positions), commit)
        # Not before the file has it, or never will: a fetch between must not get these.
        giving.add_done_callback(let_go)
        await asyncio.shield(giving)
