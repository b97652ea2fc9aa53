"""A real log, one of whose topics takes nothing: what an outage leaves half done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from common.job_log import JobLog, Position
from tests.passing_log import PassingLog


class HalfLog(PassingLog):
    """Appends to topics that begin with `closed` wait for `open`; the rest is the log's own."""

    def __init__(self, log: JobLog, closed: str) -> None:
        super().__init__(log)
        self._closed = closed
        self.tried = asyncio.Event()  # set once somebody waits at the closed topic
        self.open = asyncio.Event()

    async def append(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str]
    ) -> Position:
        if topic.startswith(self._closed):
            self.tried.set()
            await self.open.wait()
        return await super().append(topic, key, value, headers)
