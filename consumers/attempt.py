"""One attempt at one job: its token, and what it says on the topic `events`."""

from __future__ import annotations

import asyncio
import secrets
import time

import structlog

from common import tracing
from common.errors import LogUnavailable
from common.events import (
    JobCanceled,
    JobEvent,
    JobFailed,
    JobProgress,
    JobReleased,
    JobStarted,
    JobSucceeded,
)
from common.job import Output
from common.job_log import JobLog
from common.outage import until_available
from common.text import shortened
from common.topic import EVENTS
from common.wire import HEADERS, encode

MOST_ERROR = 4_000  # characters: what the log refuses as too large could never be told
MOST_LOGS = 20_000

logger = structlog.get_logger()


class Attempt:
    """Says what happens to a job. Each call returns when the log has it, however long that takes:
    an event that is lost would leave the job without an end."""

    def __init__(self, log: JobLog, job: str, *, model: str, traceparent: str | None) -> None:
        self._log = log
        self.job = job
        self.token = secrets.token_hex(16)
        self.span = tracing.begin(
            "attempt",
            traceparent,
            kind="consumer",
            attributes={"darkroom.job": job, "darkroom.model": model, "darkroom.token": self.token},
        )
        self._headers = {**HEADERS, **tracing.headers(self.span.traceparent)}
        self._progress: asyncio.Task[None] | None = None
        self._fraction = 0.0

    async def started(self, worker: str) -> None:
        await self._say(JobStarted(job=self.job, token=self.token, at=time.time(), worker=worker))

    def progress(self, fraction: float) -> None:
        """Told without waiting: only the latest fraction matters."""
        self._fraction = fraction
        if self._progress is None or self._progress.done():
            self._progress = asyncio.create_task(self._say_progress())

    async def succeeded(self, output: Output, predict_time: float, logs: str) -> None:
        await self._end(
            JobSucceeded(
                job=self.job,
                token=self.token,
                at=time.time(),
                output=output,
                predict_time=predict_time,
                logs=shortened(logs, MOST_LOGS),
            )
        )

    async def failed(self, code: str, error: str) -> None:
        await self._end(
            JobFailed(
                job=self.job,
                token=self.token,
                at=time.time(),
                code=code,
                error=shortened(error, MOST_ERROR),
            ),
            code,
        )

    async def canceled(self, code: str) -> None:
        await self._end(JobCanceled(job=self.job, token=self.token, at=time.time(), code=code))

    async def released(self, reason: str) -> None:
        await self._end(
            JobReleased(
                job=self.job,
                token=self.token,
                at=time.time(),
                reason=shortened(reason, MOST_ERROR),
            ),
            "released",
        )

    async def _end(self, event: JobEvent, error: str = "") -> None:
        if self._progress is not None:
            await asyncio.wait([self._progress])  # so that no progress comes after the end
        await self._say(event)
        self.span.end(error)

    async def _say_progress(self) -> None:
        event = JobProgress(job=self.job, token=self.token, at=time.time(), fraction=self._fraction)
        try:
            await self._log.append(EVENTS, self.job, encode(event), self._headers)
        except LogUnavailable as error:
            logger.info("progress_not_told", job_id=self.job, error=str(error))

    async def _say(self, event: JobEvent) -> None:
        await until_available(self._log.append, EVENTS, self.job, encode(event), self._headers)
