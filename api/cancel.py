"""How a job is canceled: the ledger ends it at once, then its worker is told to stop."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from api.appending import Message, append_all
from api.database import ending
from api.database.database import Database
from api.overtime import Overtime
from common.errors import LogUnavailable
from common.events import CancelJob, JobUpdate
from common.job import Job
from common.job_log import JobLog
from common.topic import CONTROL, UPDATES

TELL_SECONDS = 2.0  # that a reply waits for the log

_log = structlog.get_logger()


class Canceler:
    """Cancels jobs."""

    def __init__(self, *, log: JobLog, database: Database) -> None:
        self._log, self._database = log, database
        self._tellings = Overtime()

    async def cancel(self, job_id: str, *, code: str, error: str) -> Job | None:
        """The job as it is now; one that had ended does not change. None: there is no such job.

        Raises LedgerUnavailable.
        """
        now = time.time()
        async with self._database.write() as connection:
            job, update = await ending.cancel(connection, job_id, code=code, error=error, at=now)
        if update is not None:
            await self._tellings.wait(tell_canceled(self._log, [update], now), TELL_SECONDS)
        return job

    async def close(self) -> None:
        """Let what is being told be told."""
        await self._tellings.close()


async def tell_canceled(log: JobLog, updates: Sequence[JobUpdate], at: float) -> None:
    """The jobs have ended whatever comes of this: a worker not told works for nothing."""
    orders = [CancelJob(job=update.job, at=at) for update in updates]
    messages = [Message(UPDATES, update.job, update) for update in updates]
    messages += [Message(CONTROL, order.job, order) for order in orders]
    try:
        await append_all(log, messages)
    except LogUnavailable as error:
        jobs = [update.job for update in updates]
        _log.warning("cancel_not_told", job_ids=jobs, error=str(error))
