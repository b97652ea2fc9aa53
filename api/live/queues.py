"""Where a waiting job stands, when it may begin, and how long a queue takes to drain."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import structlog

from api.live.rates import Rates
from api.live.workers_seen import WorkersSeen
from api.metrics import Metrics
from api.schemas import Queue
from common.errors import LogUnavailable
from common.events import JobUpdate
from common.job import Job, JobState
from common.job_log import Bounds, JobLog, Position, TopicPartition
from common.topic import job_groups, job_topics

FRESH_SECONDS = 0.5  # the bounds of a model that somebody asks about are not read more often
STALE_SECONDS = 5.0  # older bounds say nothing any more
LOOK_SECONDS = 1.0  # that a reply waits for bounds
_MOST_REMEMBERED = 10_000  # jobs

T = TypeVar("T")

logger = structlog.get_logger(__name__)


class _Seen(NamedTuple):
    """The bounds of a model's topics."""

    bounds: Mapping[TopicPartition, Bounds]
    at: float


class Queues:
    """Estimates for the jobs that wait. What is not known is None, never a guess.

    Bounds are read when somebody asks, once for all who ask within half a second.
    """

    def __init__(
        self,
        log: JobLog,
        workers: WorkersSeen,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log, self._workers, self._metrics, self._clock = log, workers, metrics, clock
        self._rates = Rates()
        self._seen: dict[str, _Seen] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._places: OrderedDict[str, Position] = OrderedDict()  # what the rows may not have yet
        self._promised: OrderedDict[str, float] = OrderedDict()  # job id -> when it should start

    async def close(self) -> None:
        """Stop reading."""
        for task in self._reading.values():
            task.cancel()
        if self._reading:
            await asyncio.wait(self._reading.values())

    def place(self, job_id: str, position: Position) -> None:
        """Remember where the log holds a job, until its row tells."""
        _remember(self._places, job_id, position)

    def take(self, update: JobUpdate) -> None:
        """Learn from a job that changed."""
        promised = self._promised.get(update.job)
        if promised is not None and update.started_at is not None:
            self._metrics.eta_missed(update.model, abs(update.started_at - promised))
        if update.started_at is not None or update.state.terminal:
            self._promised.pop(update.job, None)
            self._places.pop(update.job, None)
        self._rates.take(update, self._workers.ready(update.model))

    async def look(self, jobs: Iterable[Job]) -> None:
        """Have bounds for those of `jobs` that wait, if the log gives them in time."""
        models = {job.spec.model for job in jobs if job.state is JobState.STARTING}
        reading = [self._read_soon(model) for model in models if self._bounds(model) is None]
        if reading:
            await asyncio.wait(reading, timeout=LOOK_SECONDS)

    def queue_of(self, job: Job) -> Queue:
        """As the prediction shows it."""
        if job.state is not JobState.STARTING:
            return Queue(position=None, eta_seconds=None, reason="")
        model = job.spec.model
        position, eta = None, None
        place, bounds = self._place_of(job), self._bounds(model)
        if place is not None and bounds is not None:
            position = ahead_of(place, bounds)
            eta = self._eta(model, position + _others(place.topic, position, bounds, model))
        if eta is not None and job.id not in self._promised:
            _remember(self._promised, job.id, self._clock() + eta)
        return Queue(
            position=position,
            eta_seconds=None if eta is None else round(eta, 1),
            reason=self._workers.model(model).reason,
        )

    def depth(self, model: str) -> int | None:
        """Jobs of the model that have not ended, by the log; None while that is not known."""
        bounds = self._bounds(model)
        return None if bounds is None else sum(each.lag for each in bounds.values())

    def seconds_per_job(self, model: str) -> float | None:
        """Of one worker; None while no job of the model was seen to end."""
        return self._rates.seconds_per_job(model)

    def drain_seconds(self, model: str, jobs: float) -> float | None:
        """How long the model takes for so many jobs as it is now; None while that is not known."""
        seconds, wait = self._rates.seconds_per_job(model), self._workers.seconds_to_ready(model)
        if seconds is None or wait is None:
            return None
        return wait + jobs * seconds / max(self._workers.ready(model), 1)

    def _eta(self, model: str, ahead: float) -> float | None:
        """Seconds until a job starts that has so many before it, those that run among them."""
        workers = self._workers.ready(model)
        first = ahead + 1 - max(workers, 1)  # those that must have ended by then
        if first <= 0:
            return self._workers.seconds_to_ready(model)
        running = 0.5 if workers else 0.0  # on average half of what runs is done
        return self.drain_seconds(model, max(first - running, 0.0))

    def _place_of(self, job: Job) -> Position | None:
        if job.log_topic is None or job.log_partition is None or job.log_offset is None:
            return self._places.get(job.id)
        return Position(job.log_topic, job.log_partition, job.log_offset)

    def _bounds(self, model: str) -> Mapping[TopicPartition, Bounds] | None:
        """What is known; if that is not fresh, it is read anew meanwhile."""
        seen = self._seen.get(model)
        age = STALE_SECONDS if seen is None else self._clock() - seen.at
        if age >= FRESH_SECONDS:
            self._read_soon(model)
        return None if seen is None or age >= STALE_SECONDS else seen.bounds

    def _read_soon(self, model: str) -> asyncio.Task[None]:
        task = self._reading.get(model)
        if task is None:
            task = self._reading[model] = asyncio.create_task(self._read(model))
            task.add_done_callback(lambda _: self._reading.pop(model))
        return task

    async def _read(self, model: str) -> None:
        at = self._clock()
        try:
            bounds = await self._log.bounds(job_groups(model))
        except LogUnavailable as error:
            logger.warning("queue_unknown", model=model, reason=str(error))
        else:
            self._seen[model] = _Seen(bounds, at)


def ahead_of(place: Position, bounds: Mapping[TopicPartition, Bounds]) -> int:
    """About how many jobs of the same topic go before the one at `place`.

    (offset - committed) x partitions, as the partitions drain side by side; of a partition that
    holds less than that, all that it holds.
    """
    own = bounds.get(TopicPartition(place.topic, place.partition))
    before = max(place.offset - own.committed, 0) if own is not None else 0
    return before + sum(
        min(each.lag, before)
        for partition, each in bounds.items()
        if partition.topic == place.topic and each is not own
    )


def _others(topic: str, ahead: int, bounds: Mapping[TopicPartition, Bounds], model: str) -> float:
    """About how many jobs of other priorities are taken while this topic gives `ahead` and one."""
    weights = job_topics(model)
    lags = dict.fromkeys(weights, 0)
    for partition, each in bounds.items():
        lags[partition.topic] += each.lag
    return sum(
        min(float(lags[other]), (ahead + 1) * weight / weights[topic])
        for other, weight in weights.items()
        if other != topic
    )


def _remember(kept: OrderedDict[str, T], job_id: str, what: T) -> None:
    kept[job_id] = what
    if len(kept) > _MOST_REMEMBERED:
        kept.popitem(last=False)
