"""The recorder: follows the topic `events` and moves the jobs in the ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from api.appending import Message, append_all
from api.database import ending, scaling
from api.database.attempts import end_of
from api.database.database import Database
from api.database.errors import DataError
from api.database.recording import Applied, Rejection, apply, reject, start_first
from api.dead_letter_copies import copies_of
from api.exposing.recording import RecorderMetrics
from api.vetting import cleaned, refusal
from common import tracing, wire
from common.crash_points import crash_point
from common.errors import WireInvalid
from common.events import (
    CancelJob,
    Event,
    JobEnd,
    JobEvent,
    JobProgress,
    JobStarted,
    JobUpdate,
)
from common.job import JobState
from common.job_log import Delivery, JobLog, Subscription
from common.outage import until_available
from common.scaling import SCALING_KEY, ScalingEvent
from common.text import clean
from common.topic import CONTROL, EVENTS, UPDATES
from common.tracing import Span

GROUP = "recorder"
MOST_EVENTS = 500  # of one transaction
_BATCHES_BEHIND = 4  # committed, and not announced or not acknowledged yet
_RECEIVE_SECONDS = 30.0
_AFTER_FAILURE_SECONDS = 1.0

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A delivery, and either the event that it holds or why it cannot be applied."""

    delivery: Delivery
    event: JobEvent | ScalingEvent | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A batch that the ledger has, with what there is to say about it."""

    deliveries: Sequence[Delivery]
    messages: Sequence[Message]
    failed: Sequence[str]  # jobs that ended so, of which some may be dead letters


class Recorder:
    """Commits a batch, tells `updates` and `control` what came of it, and acknowledges it.

    The three run one behind the other, so that a new event waits for the commit before it at most.
    A batch that was cut off comes again, changes nothing, and is announced again.
    """

    def __init__(
        self, *, log: JobLog, database: Database, metrics: RecorderMetrics | None = None
    ) -> None:
        self._log = log
        self._database = database
        self._metrics = metrics or RecorderMetrics()

    async def run(self) -> None:
        """Record until cancelled. While the database or the log is gone it waits."""
        while True:
            subscription = await until_available(
                self._log.subscribe,
                {EVENTS: 1},
                group=GROUP,
                capacity=MOST_EVENTS * (_BATCHES_BEHIND + 2),
            )
            try:
                await self._follow(subscription)
            except Exception:  # the loop's edge: what was not acknowledged comes again
                logger.exception("recorder_failed")
                await asyncio.sleep(_AFTER_FAILURE_SECONDS)
            finally:
                await subscription.close()

    async def _follow(self, subscription: Subscription) -> None:
        recorded: asyncio.Queue[_Recorded] = asyncio.Queue(_BATCHES_BEHIND)
        announced: asyncio.Queue[_Recorded] = asyncio.Queue(_BATCHES_BEHIND)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._announce(recorded, announced))
            tasks.create_task(_acknowledge(announced, subscription))
            while True:
                deliveries = await until_available(
                    subscription.receive, MOST_EVENTS, _RECEIVE_SECONDS
                )
                if deliveries:
                    crash_point("recorder.before_commit")
                    readings = [_read(delivery) for delivery in deliveries]
                    spans = [span for reading in readings if (span := _span(reading))]
                    applied = await until_available(self._record, readings)
                    for span in spans:
                        span.end()
                    crash_point("recorder.after_commit")
                    self._metrics.recorded(len(deliveries), applied.updates)
                    failed = [u.job for u in applied.updates if u.state is JobState.FAILED]
                    await recorded.put(_Recorded(deliveries, _messages(applied), failed))

    async def _announce(
        self, recorded: asyncio.Queue[_Recorded], announced: asyncio.Queue[_Recorded]
    ) -> None:
        while True:
            batch = await recorded.get()
            await until_available(append_all, self._log, batch.messages)
            letters = await until_available(copies_of, self._database, batch.failed)
            await until_available(append_all, self._log, letters)
            crash_point("recorder.after_announcement")
            await announced.put(batch)

    async def _record(self, readings: Sequence[_Reading]) -> Applied:
        """Commit the batch; if it fails on data, event by event. Raises LedgerUnavailable."""
        try:
            return await self._commit(readings)
        except DataError as error:
            logger.warning("batch_refused", events=len(readings), reason=str(error))
        applied = Applied()
        for reading in readings:
            try:
                one = await self._commit([reading])
            except DataError as error:
                reason = f"{type(error).__name__}: {error}"
                one = await self._commit([replace(reading, event=None, reason=reason)])
            applied.updates += one.updates
            applied.stop += one.stop
            applied.scaling = one.scaling or applied.scaling
        return applied

    async def _commit(self, readings: Sequence[_Reading]) -> Applied:
        sound = [reading for reading in readings if isinstance(reading.event, Event)]
        refused = [reading for reading in readings if reading.event is None]
        if len(readings) == 1 and (changed := await self._at_once(readings[0])):
            return Applied([changed])
        async with self._database.write() as connection:
            events = [r.event for r in sound if isinstance(r.event, Event)]
            applied = await apply(connection, events)
            said = [r.event for r in readings if isinstance(r.event, ScalingEvent)]
            applied.scaling = await scaling.record(connection, said)
            for index in applied.unknown:
                stray = replace(sound[index], reason="the ledger has no such job")
                await reject(connection, _rejection(stray, ends=False))
            for reading in refused:
                logger.warning("event_rejected", job=reading.delivery.key, reason=reading.reason)
                update = await reject(connection, _rejection(reading, ends=True))
                if update is not None:
                    applied.updates.append(update)
                    applied.stop.append(update.job)
        self._metrics.rejected.inc(len(refused) + len(applied.unknown))
        return applied

    async def _at_once(self, reading: _Reading) -> JobUpdate | None:
        """A first start or an end that comes alone needs one statement, and somebody waits for it.

        None if it is neither: a transaction then finds out how the job stands.
        """
        event = reading.event
        if not isinstance(event, JobStarted | JobEnd):
            return None
        async with self._database.statement() as connection:
            if isinstance(event, JobStarted):
                return await start_first(connection, event)
            return await ending.end(connection, event.job, end_of(event))


async def _acknowledge(announced: asyncio.Queue[_Recorded], subscription: Subscription) -> None:
    while True:
        deliveries = list((await announced.get()).deliveries)
        while not announced.empty():
            deliveries += announced.get_nowait().deliveries
        await until_available(subscription.acknowledge, *deliveries)


def _read(delivery: Delivery) -> _Reading:
    try:
        event = wire.decode_event(delivery.value, delivery.headers)
    except WireInvalid as error:
        return _Reading(delivery, None, str(error))
    reason = refusal(event)
    return _Reading(delivery, None, reason) if reason else _Reading(delivery, cleaned(event))


def _span(reading: _Reading) -> Span | None:
    """None for what is in no trace, and for progress, of which there may be much."""
    parent = tracing.of(reading.delivery.headers)
    if parent is None or isinstance(reading.event, JobProgress):
        return None
    event = "rejected" if reading.event is None else type(reading.event).__name__
    return tracing.begin("record", parent, kind="consumer", attributes={"darkroom.event": event})


def _rejection(reading: _Reading, *, ends: bool) -> Rejection:
    """The message's key is the job's id, whatever the body says."""
    delivery = reading.delivery
    key = clean(delivery.key)
    return Rejection(
        position=delivery.position,
        key=key,
        value=delivery.value,
        reason=clean(reading.reason),
        job=key if ends else None,
        at=time.time(),
    )


def _messages(applied: Applied) -> list[Message]:
    updates = [Message(UPDATES, update.job, update) for update in applied.updates]
    now = time.time()
    messages = [Message(CONTROL, job, CancelJob(job=job, at=now)) for job in applied.stop]
    if applied.scaling is not None:
        messages.append(Message(CONTROL, SCALING_KEY, applied.scaling))
    return updates + messages
