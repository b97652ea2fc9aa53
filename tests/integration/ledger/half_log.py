"""A real log, one of whose topics takes nothing: what an outage leaves half done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from common.job_log import Bounds, JobLog, Position, Start, Subscription, TopicPartition


class HalfLog(JobLog):
    """Appends to topics that begin with `closed` wait for `open`; the rest is the log's own."""

    def __init__(self, log: JobLog, closed: str) -> None:
        self._log, self._closed = log, closed
        self.tried = asyncio.Event()  # set once somebody waits at the closed topic
        self.open = asyncio.Event()

    async def append(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str]
    ) -> Position:
        if topic.startswith(self._closed):
            self.tried.set()
            await self.open.wait()
        return await self._log.append(topic, key, value, headers)

    async def subscribe(
        self,
        topics: Mapping[str, int],
        *,
        group: str | None,
        start: Start = Start.EARLIEST,
        capacity: int = 1000,
    ) -> Subscription:
        return await self._log.subscribe(topics, group=group, start=start, capacity=capacity)

    async def bounds(
        self, topics: Sequence[str], *, group: str | None
    ) -> dict[TopicPartition, Bounds]:
        return await self._log.bounds(topics, group=group)

    async def close(self) -> None:
        await self._log.close()
