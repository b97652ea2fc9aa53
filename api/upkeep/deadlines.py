"""The clock that ends jobs whose time is up."""

from __future__ import annotations

import time

import structlog

from api.cancel import TELL_SECONDS, tell_canceled
from api.database import due
from api.database.database import Database
from api.overtime import Overtime
from api.upkeep.recorder_progress import RecorderProgress
from api.upkeep.rounds import go_round
from common.job_log import JobLog

LONGEST_PAUSE_SECONDS = 0.5  # a job that is accepted meanwhile may be due sooner
_SHORTEST_PAUSE_SECONDS = 0.01
_BEHIND_SECONDS = 0.1  # until the recorder's progress is asked for again

logger = structlog.get_logger(__name__)


class Deadlines:
    """Goes round and round; of all processes that do, one at a time.

    A start, or an end, that was in time counts however late it is recorded: while the recorder is
    behind, or was not running for a while, only what was due before its progress ends.
    """

    def __init__(self, *, log: JobLog, database: Database) -> None:
        self._log, self._database = log, database
        self._recorder = RecorderProgress(log)
        self._tellings = Overtime()

    async def run(self) -> None:
        """Until cancelled. A job ends at most a second after its time."""
        await go_round(self._database, "deadlines", self._go, every_seconds=LONGEST_PAUSE_SECONDS)

    async def _go(self) -> float | None:
        next_at = await self.round()
        if next_at is None:
            return None
        return min(max(next_at - time.time(), _SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)

    async def round(self) -> float | None:
        """End what is due now, and return when the next is. Raises Unavailable."""
        while True:
            async with self._database.read() as connection:
                next_at = await due.next_at(connection)
            now = time.time()
            if next_at is None or next_at > now:
                return next_at
            until = min(now, await self._recorder.reached())
            updates = []
            if next_at <= until:
                async with self._database.write() as connection:
                    updates = await due.end_due(connection, until, now=now)
            if not updates:  # the recorder is behind, or others were faster
                return now + _BEHIND_SECONDS
            logger.info("jobs_out_of_time", jobs=len(updates))
            await self._tellings.wait(tell_canceled(self._log, updates, now), TELL_SECONDS)

    async def close(self) -> None:
        """Let what is being told be told."""
        await self._tellings.close()
