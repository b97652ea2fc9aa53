"""The job log in a SQLite file, shared by the processes of one host: one host is its limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from sqlite3 import Connection

import structlog

from common.errors import LogUnavailable, SettingsInvalid
from common.job_log.base import Bounds, JobLog, Position, Start, Subscription, TopicPartition
from common.job_log.sqlite import leases
from common.job_log.sqlite import topics as tables
from common.job_log.sqlite.doorbell import Doorbell
from common.job_log.sqlite.file import Commit, SqliteFile
from common.job_log.sqlite.subscription import BroadcastSubscription, SharedSubscription
from common.job_log.weights import WeightedChoice
from common.topic import is_shared_work, retention_seconds

LEASE_SECONDS = 30.0
_POLL_SECONDS = 0.25  # a reader whose ring was lost waits no longer
_TRIM_SECONDS = 5.0

_logger = structlog.get_logger()


class SqliteJobLog(JobLog):
    """Topics in one file. All processes that open it use the same `lease_seconds`."""

    def __init__(self, file: SqliteFile, doorbell: Doorbell, lease_seconds: float) -> None:
        """Use `open`."""
        self._file = file
        self._doorbell = doorbell
        self._lease_seconds = lease_seconds
        self._numbers = count(1)
        self._readers: list[SharedSubscription] = []
        self._upkeep = [
            asyncio.create_task(self._every(_POLL_SECONDS, self._look)),
            asyncio.create_task(self._every(lease_seconds / 3, self._renew)),
            asyncio.create_task(self._every(_TRIM_SECONDS, self._trim)),
        ]

    @classmethod
    async def open(cls, url: str, *, lease_seconds: float = LEASE_SECONDS) -> SqliteJobLog:
        """The log at `sqlite:///PATH`; made if it is not there.

        Raises LogUnavailable, and SettingsInvalid for a URL without a path. What was held
        by processes that died is free when this returns.
        """
        path = path_of(url)
        file = SqliteFile(path, tables.SCHEMA + leases.SCHEMA)
        try:
            await file.run(lambda _: None, Commit.NONE)
            log = cls(file, _doorbell_of(path), lease_seconds)
        except LogUnavailable:
            await file.close()
            raise
        try:
            await log._look()
        except LogUnavailable:
            await log.close()
            raise
        return log

    async def append(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str]
    ) -> Position:
        message = tables.Message.of(key, value, headers, time.time())
        position = await self._file.run(
            lambda db: tables.append(db, topic, message), Commit.DURABLE
        )
        self._doorbell.ring({topic})
        return position

    async def subscribe(
        self,
        topics: Mapping[str, int],
        *,
        group: str | None,
        start: Start = Start.EARLIEST,
        capacity: int = 1000,
    ) -> Subscription:
        choice = WeightedChoice(topics)
        if group is None:
            places = await self._file.run(
                lambda db: tables.places(db, topics, start), Commit.ORDERED
            )
            return BroadcastSubscription(self._file, self._doorbell, choice, places)
        await self._file.run(lambda db: leases.join(db, group, topics, start), Commit.ORDERED)
        subscription = SharedSubscription(
            self._file,
            self._doorbell,
            choice,
            reader=leases.Reader(group, self._doorbell.name, next(self._numbers)),
            capacity=capacity,
            lease_seconds=self._lease_seconds,
        )
        self._readers.append(subscription)
        return subscription

    async def bounds(self, topics: Mapping[str, str | None]) -> dict[TopicPartition, Bounds]:
        def look(db: Connection) -> dict[TopicPartition, Bounds]:
            tables.make_topics(db, topics)
            return {
                TopicPartition(topic, tables.PARTITION): leases.bounds(db, topic, group)
                for topic, group in topics.items()
            }

        return await self._file.run(look, Commit.ORDERED)

    async def ends(self, topics: Sequence[str]) -> dict[str, tuple[int, ...]]:
        def look(db: Connection) -> dict[str, tuple[int, ...]]:
            return {topic: (tables.extent(db, topic).stop,) for topic in topics}

        return await self._file.run(look, Commit.NONE)

    async def close(self) -> None:
        """Leases of subscriptions that nobody closed end too."""
        for task in self._upkeep:
            task.cancel()
        await asyncio.wait(self._upkeep)
        try:
            await self._file.run(lambda db: leases.bury(db, self._doorbell.name), Commit.ORDERED)
        finally:
            self._doorbell.close()
            await self._file.close()

    async def _every(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await act()
            except (LogUnavailable, OSError) as error:
                _logger.warning("job_log.upkeep_failed", error=str(error))

    async def _look(self) -> None:
        """Free what dead processes held, and let every reader look for what it was not told."""
        for name in self._doorbell.dead():
            await self._file.run(partial(leases.bury, process=name), Commit.ORDERED)
            self._doorbell.bury(name)
        self._doorbell.wake_all()

    async def _renew(self) -> None:
        self._readers = [each for each in self._readers if not each.closed]
        readers = [each.reader for each in self._readers]
        await self._file.run(
            lambda db: leases.renew(db, readers, self._lease_seconds), Commit.ORDERED
        )

    async def _trim(self) -> None:
        for topic in await self._file.run(tables.topic_names, Commit.NONE):
            await self._file.run(partial(_trim_topic, topic=topic), Commit.ORDERED)


def path_of(url: str) -> Path:
    """The file of `sqlite:///PATH`. Raises SettingsInvalid."""
    scheme, _, path = url.partition(":///")
    if scheme != "sqlite" or not path:
        raise SettingsInvalid(f"{url!r} names no file: write sqlite:////ABSOLUTE/PATH.sqlite")
    return Path(path).absolute()


def _doorbell_of(path: Path) -> Doorbell:
    try:
        return Doorbell(path)
    except OSError as error:
        raise LogUnavailable(f"no doorbell for {path}: {error}") from error


def _trim_topic(db: Connection, topic: str) -> None:
    finished = leases.finished_by_all(db, topic) if is_shared_work(topic) else 0
    tables.trim(db, topic, time.time() - retention_seconds(topic), finished)
    leases.forget(db, topic)
