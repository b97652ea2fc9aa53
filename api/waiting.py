"""Requests that wait for their job to end, woken by the topic `updates`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from api.database import jobs
from api.database.database import Database
from api.following import Follower
from common import topic, wire
from common.job import Job
from common.job_log import Delivery, JobLog, Start


class Waiters:
    """One reader of `updates` for all requests that wait."""

    def __init__(self, log: JobLog, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._leaving = False
        self._follower = Follower(
            log, topic.UPDATES, start=Start.LATEST, take=self._take, resumed=self._wake_all
        )

    def start(self) -> None:
        """Begin to follow the topic."""
        self._follower.start()

    async def close(self) -> None:
        """Stop following it."""
        await self._follower.close()

    def leave(self) -> None:
        """End every wait now, and each later one at once: the process is about to stop."""
        self._leaving = True
        self._wake_all()

    @contextmanager
    def expect(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the job may have ended. Enter before the job is committed."""
        changed = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(changed)
        try:
            yield changed
        finally:
            waiting = self._waiting[job_id]
            waiting.remove(changed)
            if not waiting:
                del self._waiting[job_id]

    async def ended(self, job: Job, changed: asyncio.Event, seconds: float) -> Job:
        """The job once it has ended, or `job` itself if that takes longer than `seconds`.

        Raises LedgerUnavailable.
        """
        deadline = time.monotonic() + (0 if self._leaving else seconds)
        while True:
            try:
                await asyncio.wait_for(changed.wait(), deadline - time.monotonic())
            except TimeoutError:
                return job
            changed.clear()
            async with self._database.read() as connection:
                now = await jobs.get(connection, job.id)
            if now is not None and now.state.terminal:
                return now
            if self._leaving:
                return job

    def _take(self, delivery: Delivery) -> None:
        waiting = self._waiting.get(delivery.key)
        if (
            waiting is not None
            and wire.decode_update(delivery.value, delivery.headers).state.terminal
        ):
            _wake(waiting)

    def _wake_all(self) -> None:
        for waiting in self._waiting.values():
            _wake(waiting)


def _wake(waiting: set[asyncio.Event]) -> None:
    for changed in waiting:
        changed.set()
