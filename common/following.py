"""A reader of one topic that everyone gets whole, for as long as the process runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from common.errors import LogUnavailable, WireInvalid
from common.job_log import Delivery, JobLog, Start, Subscription
from common.outage import until_available

_log = structlog.get_logger()
_BATCH = 1000
_RECEIVE_SECONDS = 60.0
_AFTER_FAILURE_SECONDS = 1.0


class Follower:
    """Hands every message of `topic` to `take`, in a task of its own.

    `resumed` is called whenever a subscription begins: what was said before it may be missed.
    """

    def __init__(
        self,
        log: JobLog,
        topic: str,
        *,
        start: Start,
        take: Callable[[Delivery], None],
        resumed: Callable[[], None] = lambda: None,
    ) -> None:
        self._log, self._topic, self._start = log, topic, start
        self._take, self._resumed = take, resumed
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow. Returns at once: the log may answer later."""
        self._task = asyncio.create_task(self._follow(), name=f"follow {self._topic}")

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _follow(self) -> None:
        while True:
            subscription = await until_available(self._subscribe)
            try:
                self._resumed()
                await self._receive(subscription)
            except LogUnavailable as error:
                _log.warning("following_interrupted", topic=self._topic, error=str(error))
            except Exception:  # noqa: BLE001  the loop's edge: nothing ends the following for good
                _log.exception("following_failed", topic=self._topic)
                await asyncio.sleep(_AFTER_FAILURE_SECONDS)
            finally:
                await subscription.close()

    async def _subscribe(self) -> Subscription:
        return await self._log.subscribe(
            {self._topic: 1}, group=None, start=self._start, capacity=_BATCH
        )

    async def _receive(self, subscription: Subscription) -> None:
        while True:
            deliveries = await subscription.receive(_BATCH, _RECEIVE_SECONDS)
            for delivery in deliveries:
                try:
                    self._take(delivery)
                except WireInvalid as error:
                    _log.warning("message_unreadable", topic=self._topic, error=str(error))
            await subscription.acknowledge(*deliveries)
