"""A real log behind one of a test's own, which comes between at some calls only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.job_log import Bounds, JobLog, Position, Start, Subscription, TopicPartition


class PassingLog(JobLog):
    """Every call is the log's own."""

    def __init__(self, log: JobLog) -> None:
        self.log = log

    async def append(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str]
    ) -> Position:
        return await self.log.append(topic, key, value, headers)

    async def subscribe(
        self,
        topics: Mapping[str, int],
        *,
        group: str | None,
        start: Start = Start.EARLIEST,
        capacity: int = 1000,
    ) -> Subscription:
        return await self.log.subscribe(topics, group=group, start=start, capacity=capacity)

    async def bounds(self, topics: Mapping[str, str | None]) -> dict[TopicPartition, Bounds]:
        return await self.log.bounds(topics)

    async def ends(self, topics: Sequence[str]) -> dict[str, tuple[int, ...]]:
        return await self.log.ends(topics)

    async def close(self) -> None:
        await self.log.close()
