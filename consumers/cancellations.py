"""Which jobs were canceled, as the topic `control` tells it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

from common.errors import WireInvalid
from common.events import CancelJob
from common.job_log import Delivery, JobLog, Start, Subscription, TopicPartition
from common.outage import until_available
from common.topic import CONTROL, retention_seconds
from common.wire import decode_control

logger = structlog.get_logger()


class Cancellations:
    """Reads `control` from the start of its retention, and goes on while the consumer works."""

    def __init__(self, log: JobLog, on_cancel: Callable[[str], Awaitable[None]]) -> None:
        self._log = log
        self._on_cancel = on_cancel
        self._canceled: dict[str, float] = {}  # job -> when, oldest first

    def __contains__(self, job: str) -> bool:
        return job in self._canceled

    async def catch_up(self) -> Subscription:
        """Read all that is there now, so that no canceled job is begun. Raises LogUnavailable."""
        subscription = await self._log.subscribe({CONTROL: 1}, group=None, start=Start.EARLIEST)
        seen: dict[TopicPartition, int] = {}
        try:
            while await self._behind(seen):
                for delivery in await subscription.receive(1000, timeout=1.0):
                    topic, partition, offset = delivery.position
                    seen[TopicPartition(topic, partition)] = offset + 1
                    await self._take(delivery)
        except BaseException:
            await subscription.close()
            raise
        return subscription

    async def follow(self, subscription: Subscription) -> None:
        """Go on until the task is canceled."""
        try:
            while True:
                for delivery in await until_available(subscription.receive, 1000, 60.0):
                    await self._take(delivery)
        finally:
            await subscription.close()

    async def _behind(self, seen: Mapping[TopicPartition, int]) -> bool:
        bounds = await self._log.bounds({CONTROL: None})
        return any(b.end > max(b.start, seen.get(place, 0)) for place, b in bounds.items())

    async def _take(self, delivery: Delivery) -> None:
        try:
            cancel = decode_control(delivery.value, delivery.headers)
        except WireInvalid as error:
            logger.warning("control_message_skipped", error=str(error))
            return
        if not isinstance(cancel, CancelJob):
            return
        self._forget_old()
        self._canceled[cancel.job] = cancel.at
        await self._on_cancel(cancel.job)

    def _forget_old(self) -> None:
        kept_since = time.time() - retention_seconds(CONTROL)
        while self._canceled:
            oldest = next(iter(self._canceled))
            if self._canceled[oldest] >= kept_since:
                return
            del self._canceled[oldest]
