"""What waits for each model, by the log: read often, and little where nothing moves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from common.errors import LogUnavailable
from common.job import Priority
from common.job_log import Bounds, JobLog
from common.topic import job_groups, job_topic, job_topics
from scaler.observation import Lag

# A log that was wiped may come to the same ends again. Lower ones show it, unless no look fell
# between; so everything is read anew after so many seconds.
ANEW_SECONDS = 60.0

logger = structlog.get_logger()


Ends = list[tuple[int, ...]]  # of a model's topics


@dataclass(frozen=True, slots=True)
class Queue:
    """Jobs of one model. None: the log did not answer."""

    lag: Lag | None
    done: int | None  # by the log's count


UNKNOWN = Queue(None, None)


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read of a model that had nothing to do, and when."""

    queue: Queue
    ends: Ends
    at: float


class Queues:
    """Of all models. Commits are read where an end moved, or where something was left to do."""

    def __init__(self, log: JobLog, models: Collection[str]) -> None:
        self._log = log
        self._topics = {model: list(job_topics(model)) for model in models}
        self._all = [topic for topics in self._topics.values() for topic in topics]
        self._idle: dict[str, _Read] = {}

    async def look(self, now: float) -> dict[str, Queue]:
        """One a model. Raises nothing: what is unknown is said to be."""
        try:
            moved = self._moved(await self._log.ends(self._all), now)
        except LogUnavailable as error:
            logger.warning("lags_unknown", error=str(error))
            return dict.fromkeys(self._topics, UNKNOWN)
        found = await self._read(moved, now)
        return {model: found.get(model) or self._idle[model].queue for model in self._topics}

    def _moved(self, ends: dict[str, tuple[int, ...]], now: float) -> list[str]:
        """The models of which more must be read than their ends."""
        return [
            model
            for model, topics in self._topics.items()
            if (read := self._idle.get(model)) is None
            or read.ends != [ends[topic] for topic in topics]
            or now >= read.at + ANEW_SECONDS
        ]

    async def _read(self, models: Collection[str], now: float) -> dict[str, Queue]:
        for model in models:
            self._idle.pop(model, None)
        groups = job_groups(*models)
        try:
            bounds = await self._log.bounds(groups) if groups else {}
        except LogUnavailable as error:
            logger.warning("lags_unknown", models=sorted(models), error=str(error))
            return dict.fromkeys(models, UNKNOWN)
        of_topic: dict[str, list[Bounds]] = {topic: [] for topic in groups}
        for partition in sorted(bounds):
            of_topic[partition.topic].append(bounds[partition])
        return {model: self._queue(model, of_topic, now) for model in models}

    def _queue(self, model: str, bounds: Mapping[str, Sequence[Bounds]], now: float) -> Queue:
        own = {topic: bounds[topic] for topic in self._topics[model]}
        lag = Lag(*(sum(b.lag for b in own[job_topic(model, each)]) for each in Priority))
        queue = Queue(lag, sum(bound.committed for each in own.values() for bound in each))
        if not lag.jobs:
            ends = [tuple(bound.end for bound in each) for each in own.values()]
            self._idle[model] = _Read(queue, ends, now)
        return queue
