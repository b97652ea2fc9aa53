"""Where the log holds the jobs, kept on their rows and written behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

import structlog
from sqlalchemy import bindparam, or_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.database import Database
from api.database.tables import jobs
from common.errors import LedgerUnavailable
from common.job_log import Position

EVERY_SECONDS = 0.5
RETRY_SECONDS = 1.0

logger = structlog.get_logger(__name__)


class Appended(NamedTuple):
    """A job was appended to the log."""

    position: Position
    at: float  # seconds since the epoch, after the log's reply


_keep = (
    update(jobs)
    .where(
        jobs.c.id == bindparam("job"),
        # A copy that was appended later may have been noted already.
        or_(jobs.c.appended_at.is_(None), jobs.c.appended_at <= bindparam("at")),
    )
    .values(
        log_topic=bindparam("topic"),
        log_partition=bindparam("partition"),
        log_offset=bindparam("offset"),
        appended_at=bindparam("at"),
    )
)


async def keep(connection: AsyncConnection, appended: Mapping[str, Appended]) -> None:
    """Note where the log holds these jobs (id -> where).

    In the order of ids, as all that lock several jobs do, so that no two wait for each other.
    """
    if appended:
        rows = [
            {"job": job, "at": what.at, **what.position._asdict()}
            for job, what in sorted(appended.items())
        ]
        await connection.execute(_keep, rows)


class PositionWriter:
    """Collects positions and writes them a few times a second.

    One that is lost with the process costs a second copy in the log: the sweeper appends a job
    without a position again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: dict[str, Appended] = {}
        self._arrived = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def add(self, job_id: str, position: Position) -> None:
        self._pending[job_id] = Appended(position, time.time())
        self._arrived.set()

    async def close(self) -> None:
        """Write what is left, if the database answers."""
        self._task.cancel()
        await asyncio.wait([self._task])
        try:
            await self._flush()
        except LedgerUnavailable as error:
            logger.warning("positions_lost", jobs=len(self._pending), reason=str(error))

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(EVERY_SECONDS)
            self._arrived.clear()
            try:
                await self._flush()
            except Exception as error:  # noqa: BLE001  the loop's edge
                logger.warning("positions_wait", jobs=len(self._pending), reason=str(error))
                self._arrived.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _flush(self) -> None:
        taken = dict(self._pending)
        if not taken:
            return
        async with self._database.write() as connection:
            await keep(connection, taken)
        for job, what in taken.items():
            if self._pending[job] is what:
                del self._pending[job]
