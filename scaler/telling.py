"""What the scaler decides, told to whoever wants to know: by its log, and on the topic `events`."""

from __future__ import annotations

import asyncio
import secrets
import time

import structlog

from common import wire
from common.job_log import JobLog
from common.outage import until_available
from common.scaling import ScalingDecided
from common.topic import EVENTS
from scaler.observation import Alert, Decision

MOST_WAITING = 1000  # decisions, while the log is away; then they are told nowhere but here

logger = structlog.get_logger()


class Telling:
    """Tells each change once. Deciding never waits for it."""

    def __init__(self, log: JobLog, scaler: str) -> None:
        self._log = log
        self._scaler = scaler
        self._waiting: asyncio.Queue[ScalingDecided] = asyncio.Queue(MOST_WAITING)
        self._last: dict[str, tuple[int, int, Alert | None]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._tell(), name="tell decisions")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def decided(self, decision: Decision, consumers: int, *, applied: bool) -> bool:
        """Take note that `consumers` should become as many as it says. Whether that is news."""
        now = consumers, decision.consumers, decision.alert
        changes = consumers != decision.consumers
        before = self._last.get(decision.model)
        self._last[decision.model] = now
        same_alert = decision.alert == (before[2] if before else None)
        if same_alert and (not changes or now == before):
            return False
        told = ScalingDecided(
            id=secrets.token_hex(8),
            scaler=self._scaler,
            model=decision.model,
            at=time.time(),
            before=consumers,
            after=decision.consumers,
            reason=decision.reason,
            applied=applied,
            alert=decision.alert or "",
        )
        logger.info(
            "scaled" if applied else "would_scale",
            model=told.model,
            consumers=told.before,
            wanted=told.after,
            reason=told.reason,
            alert=told.alert,
        )
        if not self._waiting.full():
            self._waiting.put_nowait(told)
        return True

    async def _tell(self) -> None:
        while True:
            told = await self._waiting.get()
            body = wire.encode(told)
            await until_available(self._log.append, EVENTS, told.model, body, wire.HEADERS)
