"""What waits for each model, by the log: read often, and little where nothing moves."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

import structlog

from common.errors import LogUnavailable
from common.job import Priority
from common.job_log import JobLog
from common.topic import consumer_group, job_topic, job_topics
from scaler.observation import Lag

AT_ONCE = 32  # questions to the log
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
        self._model_of = {
            topic: model for model, topics in self._topics.items() for topic in topics
        }
        self._idle: dict[str, _Read] = {}
        self._few = asyncio.Semaphore(AT_ONCE)

    async def look(self, now: float) -> dict[str, Queue]:
        """One a model. Raises nothing: what is unknown is said to be."""
        try:
            moved = self._moved(await self._log.ends(self._all), now)
        except LogUnavailable as error:
            logger.warning("lags_unknown", error=str(error))
            return dict.fromkeys(self._topics, UNKNOWN)
        read = await asyncio.gather(*(self._read(model, now) for model in moved))
        found = dict(zip(moved, read, strict=True))
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

    async def _read(self, model: str, now: float) -> Queue:
        self._idle.pop(model, None)
        try:
            async with self._few:
                bounds = await self._log.bounds(self._topics[model], group=consumer_group(model))
        except LogUnavailable as error:
            logger.warning("lag_unknown", model=model, error=str(error))
            return UNKNOWN
        lags = dict.fromkeys(self._topics[model], 0)
        for partition, bound in bounds.items():
            lags[partition.topic] += bound.lag
        lag = Lag(*(lags[job_topic(model, priority)] for priority in Priority))
        queue = Queue(lag, sum(bound.committed for bound in bounds.values()))
        if not lag.jobs:
            ends: dict[str, list[int]] = {topic: [] for topic in self._topics[model]}
            for partition in sorted(bounds):
                ends[partition.topic].append(bounds[partition].end)
            self._idle[model] = _Read(queue, [tuple(each) for each in ends.values()], now)
        return queue
