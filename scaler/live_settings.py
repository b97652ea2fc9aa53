"""What operators changed while it runs, by the topic `control`."""

from __future__ import annotations

import asyncio
import time

import structlog

from common import wire
from common.errors import LogUnavailable
from common.following import Follower
from common.job_log import Delivery, JobLog, Start
from common.scaling import ScalerStarted, ScalingSettings
from common.topic import CONTROL, EVENTS

ANSWER_SECONDS = 3.0  # in which a recorder that runs answers
AGAIN_SECONDS = 600.0  # a change may have been kept and never told

logger = structlog.get_logger()


class LiveSettings:
    """The newest settings that were told; None before the first: then nothing may be changed."""

    def __init__(self, log: JobLog, scaler: str) -> None:
        self._log = log
        self._scaler = scaler
        self._told = asyncio.Event()
        self._follower = Follower(log, CONTROL, start=Start.EARLIEST, take=self._take)
        self._asking: asyncio.Task[None] | None = None
        self.now: ScalingSettings | None = None

    def start(self) -> None:
        """Follow the topic, and ask for what it does not keep any more."""
        self._follower.start()
        self._asking = asyncio.create_task(self._ask(), name="ask for settings")

    async def close(self) -> None:
        """Stop following it."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        await self._follower.close()

    async def _ask(self) -> None:
        while True:
            asks = ScalerStarted(scaler=self._scaler, at=time.time())
            try:
                await self._log.append(EVENTS, self._scaler, wire.encode(asks), wire.HEADERS)
                await asyncio.wait_for(self._told.wait(), ANSWER_SECONDS)
            except (LogUnavailable, TimeoutError):
                logger.warning("scaling_settings_not_told", fix="start `python -m api record`")
                await asyncio.sleep(ANSWER_SECONDS)
            else:
                await asyncio.sleep(AGAIN_SECONDS)
                self._told.clear()

    def _take(self, delivery: Delivery) -> None:
        message = wire.decode_control(delivery.value, delivery.headers)
        if isinstance(message, ScalingSettings):
            if self.now is None or message.revision >= self.now.revision:
                self.now = message
            self._told.set()
