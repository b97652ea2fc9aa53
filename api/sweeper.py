"""The sweeper: appends again what the log lost, or never got. Old idempotency keys go too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping

import structlog

from api.appending import Message, append_each
from api.database import claims, positions, sweeping
from api.database.database import Database
from api.database.positions import Appended
from api.database.sweeping import Carried, Unended
from api.exposing.recording import RecorderMetrics
from api.recorder import GROUP as RECORDER
from api.upkeep.rounds import go_round
from common import tracing
from common.crash_points import crash_point
from common.errors import LogUnavailable, Unavailable
from common.job_log import Bounds, JobLog, Position, TopicPartition
from common.topic import EVENTS, job_groups, job_topic

NAME = "sweeper"  # of all processes that sweep, one at a time

# Clocks of the machines that append and of the one that sweeps may differ by this much without
# a second copy of a job. Beyond it copies are made, or made late: no job is lost by it.
CLOCK_SECONDS = 2.0
RECORDER_SECONDS = 30.0  # how long a round waits for the recorder
_RECORDER_POLL_SECONDS = 0.05

logger = structlog.get_logger(__name__)


class RecorderBehind(Unavailable):
    """Events wait to be recorded: which jobs are lost cannot be said."""


class Sweeper:
    """Goes round and round; of all processes that do, one at a time."""

    def __init__(
        self,
        *,
        log: JobLog,
        database: Database,
        models: Iterable[str],
        every_seconds: float,
        after_seconds: float,
        metrics: RecorderMetrics | None = None,
    ) -> None:
        self._log = log
        self._database = database
        self._models = frozenset(models)
        self._every_seconds = every_seconds
        self._after_seconds = after_seconds
        self._metrics = metrics or RecorderMetrics()

    async def run(self) -> None:
        """A round every `every_seconds`, until cancelled."""
        await go_round(self._database, NAME, self._go, every_seconds=self._every_seconds)

    async def _go(self) -> None:
        await self._forget_keys()
        await self.round()

    async def round(self) -> int:
        """Append again what is gone, and return how many jobs that were.

        Nothing while the recorder lags behind. Raises LogUnavailable or LedgerUnavailable, having
        done what it could until then.
        """
        try:
            appended = sum([await self.append(gone) async for gone in self.gone()])
        except RecorderBehind as error:
            logger.warning("sweep_given_up", reason=str(error))
            return 0
        self._metrics.rounds.inc()
        return appended

    async def gone(self) -> AsyncIterator[list[str]]:
        """Jobs that the log has lost, batch by batch. Raises RecorderBehind, Unavailable."""
        read_at = time.time()
        async with self._database.read() as connection:
            models = self._models.union(await sweeping.models(connection))
        bounds = await self._job_bounds(models)
        if not await self._recorder_caught_up():
            raise RecorderBehind("the recorder has not caught up")
        for model in sorted(models):
            async for batch in sweeping.unended(self._database, model, now=time.time()):
                gone = [
                    job.id
                    for job in batch
                    if is_gone(job, bounds, read_at=read_at, after_seconds=self._after_seconds)
                ]
                if gone:
                    yield gone

    async def _forget_keys(self) -> None:
        """They are as good as gone already: this only keeps their table small."""
        left = True
        while left:  # in short transactions
            async with self._database.write() as connection:
                left = await claims.forget(connection, time.time()) == claims.FORGOTTEN_AT_ONCE

    async def _job_bounds(self, models: Iterable[str]) -> dict[TopicPartition, Bounds]:
        return await self._log.bounds(job_groups(*models))

    async def _recorder_caught_up(self) -> bool:
        """Wait, for a while, until the recorder has applied all events that are there now.

        A consumer appends a job's last event before it commits the job's position. So a job below
        `committed` has its event below the end that is read here, and after this wait it has
        ended in the ledger, unless it is truly gone.
        """
        ends = {
            partition: bounds.end
            for partition, bounds in (await self._log.bounds({EVENTS: RECORDER})).items()
        }
        deadline = time.monotonic() + RECORDER_SECONDS
        while time.monotonic() < deadline:
            now = await self._log.bounds({EVENTS: RECORDER})
            if all(
                partition in now and now[partition].committed >= end
                for partition, end in ends.items()
            ):
                return True
            await asyncio.sleep(_RECORDER_POLL_SECONDS)
        return False

    async def append(self, gone: list[str]) -> int:
        """Append these jobs once more, those that have not ended since. Raises LogUnavailable."""
        async with self._database.read() as connection:
            specs = await sweeping.specs(connection, gone)
        crash_point("sweeper.before_append")
        spans = {
            job: tracing.begin("append again", carried.traceparent, kind="producer")
            for job, carried in specs.items()
        }
        messages = [_message(job, specs[job], spans[job].traceparent) for job in specs]
        results = await append_each(self._log, messages)
        for span, result in zip(spans.values(), results, strict=True):
            span.end("" if isinstance(result, Position) else "LogUnavailable")
        crash_point("sweeper.after_append")
        now = time.time()
        appended = {
            job: Appended(result, now)
            for job, result in zip(specs, results, strict=True)
            if isinstance(result, Position)
        }
        async with self._database.write() as connection:
            await positions.keep(connection, appended)
        logger.info("jobs_appended_again", jobs=len(appended))
        self._metrics.appended.inc(len(appended))
        for result in results:
            if isinstance(result, LogUnavailable):
                raise result
        return len(appended)


def is_gone(
    job: Unended,
    bounds: Mapping[TopicPartition, Bounds],
    *,
    read_at: float,
    after_seconds: float,
) -> bool:
    """Whether the log has no message any more that will run the job. Pure.

    `bounds` were read after `read_at`, and say nothing of what was appended later: a position at
    or past the end may then be a new message. So a position that was not kept safely before
    `read_at` is left to the next round.
    """
    if job.appended is None:
        return read_at - job.created_at > after_seconds
    position, appended_at = job.appended
    if appended_at > read_at - CLOCK_SECONDS:
        return False
    known = bounds.get(TopicPartition(position.topic, position.partition))
    # `committed` is never below the log's start.
    return known is None or not known.committed <= position.offset < known.end


def _message(job: str, carried: Carried, traceparent: str | None) -> Message:
    topic, headers = job_topic(carried.spec.model, carried.lane), tracing.headers(traceparent)
    return Message(topic, job, carried.spec, headers)
