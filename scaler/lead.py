"""Which of several scalers leads: whoever holds the message on the topic `scaler`.

The topic has one partition and the scalers are one group, so the log gives the message to one of
them, and to another when that one is gone. It is never finished, only replaced by a newer one
before the log's retention removes it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import structlog

from common.errors import LogUnavailable
from common.job_log import Delivery, JobLog, Subscription
from common.outage import until_available
from common.topic import SCALER, retention_seconds
from common.wire import HEADERS

GROUP = "scaler"
KEY = "lead"
LOOK_SECONDS = 1.0
RENEW_SECONDS = retention_seconds(SCALER) / 6
# A rebalance takes it from everybody for a moment, so one look without it says nothing.
LOST_SECONDS = 10.0
_AFTER_FAILURE_SECONDS = 1.0

logger = structlog.get_logger()


class Lead:
    """This scaler's hold on the lead."""

    def __init__(self, log: JobLog, scaler: str) -> None:
        self._log = log
        self._scaler = scaler
        self._subscription: Subscription | None = None
        self._token: Delivery | None = None
        self._renewed_at = 0.0
        self._elsewhere_since: float | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to seek it. Returns at once: the log may answer later."""
        self._task = asyncio.create_task(self._seek(), name="lead")

    async def close(self) -> None:
        """Leave it to the others."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def held(self) -> bool:
        """Whether this scaler leads. Raises LogUnavailable."""
        if self._subscription is None or self._token is None:
            return False
        return await self._subscription.holds(self._token)

    @property
    def lost(self) -> bool:
        """Whether another has led for a while. An outage of the log tells nothing of that."""
        since = self._elsewhere_since
        return since is not None and time.monotonic() >= since + LOST_SECONDS

    async def _seek(self) -> None:
        while True:
            subscription = await until_available(
                self._log.subscribe, {SCALER: 1}, group=GROUP, capacity=16
            )
            self._subscription = subscription
            try:
                while True:
                    await self._take(await subscription.receive(16, LOOK_SECONDS))
                    await self._look()
            except LogUnavailable as error:
                logger.warning("lead_unknown", error=str(error))
            except Exception:  # the loop's edge: without it nobody would lead any more
                logger.exception("lead_failed")
            finally:
                self._subscription = self._token = self._elsewhere_since = None
                with suppress(LogUnavailable):
                    await subscription.close()
            await asyncio.sleep(_AFTER_FAILURE_SECONDS)

    async def _take(self, deliveries: list[Delivery]) -> None:
        """The newest is kept, so that there is always one that is not finished."""
        assert self._subscription is not None
        for delivery in deliveries:
            before, self._token = self._token, delivery
            if before is not None:
                await self._subscription.acknowledge(before)

    async def _look(self) -> None:
        """Make a message where there is none, or where ours is old."""
        now = time.monotonic()
        try:
            held = await self.held()
        except LogUnavailable:  # then nobody knows; what we have may still be ours
            return
        if held:
            self._elsewhere_since = None
            if now >= self._renewed_at + RENEW_SECONDS:
                await self._append(now)
            return
        if self._token is not None:  # if it comes back to us, then as a new delivery
            assert self._subscription is not None
            token, self._token = self._token, None
            await self._subscription.release(token)
            # Until the driver finds out as well, it comes straight back.
            await asyncio.sleep(LOOK_SECONDS)
        bounds = await self._log.bounds({SCALER: GROUP})
        if not any(bound.lag for bound in bounds.values()):
            await self._append(now)
        elif self._elsewhere_since is None:
            self._elsewhere_since = now

    async def _append(self, now: float) -> None:
        await self._log.append(SCALER, KEY, self._scaler.encode(), HEADERS)
        self._renewed_at = now
