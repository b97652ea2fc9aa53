"""What is asked of a Kafka cluster beside producing and consuming: topics, offsets, identity."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import structlog
from aiokafka import TopicPartition as Partition
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    NoError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import CreateTopicsRequest
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest, OffsetRequestStruct

from common.errors import LogUnavailable
from common.job_log.kafka.cluster import Cluster
from common.job_log.kafka.driver import unbroken
from common.job_log.kafka.refusal import raise_refusal

log = structlog.get_logger()

ANSWER_S = 5.0  # what one question may take, with all that has to be tried again for it
_REQUEST_MS = 4000
_RETRY_S = 0.1
_MADE_TOGETHER = 30  # topics; a broker needs seconds for them
_DEFAULT_REPLICATION = -1  # the broker's own setting
_EARLIEST, _LATEST = -2, -1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """How a topic is made where it is missing."""

    partitions: int
    retention_seconds: int


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn what the driver raises into LogUnavailable."""
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise LogUnavailable(f"Kafka: {doing}: {reason}") from error


class _Repeated(OffsetRequest):  # type: ignore[misc]
    """One that is sent again and again: it is encoded once."""

    _built: OffsetRequestStruct | None = None

    def build(self, request_struct_class: type[OffsetRequestStruct]) -> OffsetRequestStruct:
        if type(self._built) is not request_struct_class:  # the broker may learn a newer version
            self._built = super().build(request_struct_class)
            self._built.encode = cache(self._built.encode)
        return self._built


class Broker:
    """One connection's worth of questions. Topics are named as on the wire. Raises KafkaError.

    `cluster_id` changes when the cluster's data were wiped; nothing known before holds then.
    """

    def __init__(self, cluster: Cluster, plan: Callable[[str], TopicPlan]) -> None:
        self._client = AIOKafkaClient(**cluster.options(), request_timeout_ms=_REQUEST_MS)
        self._cluster = cluster
        self._plan = plan
        self._leaders: dict[str, dict[int, int]] = {}  # topic -> partition -> node
        self._coordinators: dict[str, int] = {}  # group -> node
        self._making = asyncio.Lock()
        self._ends_leaders: dict[str, dict[int, int]] = {}  # by which the requests were made
        self._ends_requests: dict[int, OffsetRequest] = {}
        self.cluster_id: str | None = None

    async def connect(self) -> None:
        """Raises KafkaConnectionError if no server answers, SettingsInvalid if one refuses us."""
        try:
            await unbroken(self._client.bootstrap())
        except KafkaConnectionError:
            await raise_refusal(self._cluster)
            raise

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()

    async def ensure(self, topics: Collection[str]) -> None:
        """Return once these topics exist and have leaders; those missing are made."""
        # Looked for anew each time: what was known may be forgotten while others are made.
        while unseen := [topic for topic in topics if topic not in self._leaders]:
            await self._answered(partial(self._make, unseen[:_MADE_TOGETHER]))

    async def missing(self, topics: Collection[str]) -> set[str]:
        """Which of these topics do not exist now; also looks whether the cluster is another."""
        return await self._answered(lambda: self._describe(topics))

    def partitions(self, topics: Collection[str]) -> list[Partition]:
        """Every partition of topics that `ensure` has seen."""
        return [
            Partition(topic, number)
            for topic in topics
            for number in sorted(self._leaders.get(topic, ()))
        ]

    async def starts(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The offset of the oldest message kept, or of the next one."""
        return await self._answered(lambda: self._offsets(partitions, _EARLIEST))

    async def ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The offset that the next message will get."""
        return await self._answered(lambda: self._offsets(partitions, _LATEST))

    async def all_ends(self, topics: Collection[str]) -> dict[str, tuple[int, ...]]:
        """The ends of each topic's partitions, in their order."""
        return await self._answered(lambda: self._all_ends(topics))

    async def committed(
        self, group: str, partitions: Collection[Partition]
    ) -> dict[Partition, tuple[int, str]]:
        """What the group committed, with its metadata, where it committed anything."""
        return await self._answered(lambda: self._committed(group, partitions))

    async def _answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer or the time is up, making missing topics on the way."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    return await ask()
            except KafkaError as error:
                if not error.retriable or time.monotonic() + _RETRY_S >= deadline:
                    raise
                if error.invalid_metadata:
                    self._leaders.clear()
            await asyncio.sleep(_RETRY_S)

    async def _make(self, topics: Collection[str]) -> None:
        async with self._making:
            absent = await self._describe(topics)
            if absent:
                log.info("making topics", topics=sorted(absent))
                request = [self._new(topic) for topic in absent]
                response = await self._send_any(CreateTopicsRequest(request, _REQUEST_MS, False))
                for _, code, *_ in response.topic_errors:
                    # Another process may make the same topics at this moment.
                    if for_code(code) is not TopicAlreadyExistsError:
                        _check(code)
                await self._describe(topics)
            if any(topic not in self._leaders for topic in topics):
                raise LeaderNotAvailableError(f"no leader yet in one of {sorted(topics)}")

    def _new(self, topic: str) -> tuple[object, ...]:
        plan = self._plan(topic)
        settings = [("retention.ms", str(plan.retention_seconds * 1000))]
        return topic, plan.partitions, _DEFAULT_REPLICATION, [], settings

    async def _describe(self, topics: Collection[str]) -> set[str]:
        """Learn the leaders of these topics. Returns those that do not exist."""
        response = await self._send_any(MetadataRequest(list(topics), False))
        if response.cluster_id != self.cluster_id:
            self.cluster_id = response.cluster_id
            self._leaders.clear()
            self._coordinators.clear()
        missing = set()
        for code, topic, _, partitions in response.topics:
            leaders = {number: leader for _, number, leader, *_ in partitions}
            self._leaders.pop(topic, None)
            if for_code(code) is UnknownTopicOrPartitionError:
                missing.add(topic)
            elif not code and -1 not in leaders.values():
                self._leaders[topic] = leaders
        return missing

    async def _offsets(self, partitions: Collection[Partition], when: int) -> dict[Partition, int]:
        await self.ensure({partition.topic for partition in partitions})
        found = await self._ask_offsets(self._requests(OffsetRequest, partitions, when))
        return {
            Partition(topic, number): offset
            for topic, each in found.items()
            for number, offset in each
        }

    async def _all_ends(self, topics: Collection[str]) -> dict[str, tuple[int, ...]]:
        await self.ensure(topics)
        leaders = {topic: self._leaders[topic] for topic in topics}
        if leaders != self._ends_leaders:
            requests = self._requests(_Repeated, self.partitions(topics), _LATEST)
            self._ends_leaders, self._ends_requests = leaders, requests
        ends = await self._ask_offsets(self._ends_requests)
        return {topic: tuple(end for _, end in sorted(ends[topic])) for topic in topics}

    def _requests(
        self, kind: type[OffsetRequest], partitions: Iterable[Partition], when: int
    ) -> dict[int, OffsetRequest]:
        """What each node is asked: `when` is the earliest or the latest offset."""
        asked: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        for topic, number in partitions:
            leader = self._leaders.get(topic, {}).get(number)
            if leader is None:
                raise UnknownTopicOrPartitionError(f"{topic} has no partition {number}")
            asked[leader][topic].append((number, when))
        return {node: kind(-1, 0, list(topics.items())) for node, topics in asked.items()}

    async def _ask_offsets(
        self, requests: Mapping[int, OffsetRequest]
    ) -> dict[str, list[tuple[int, int]]]:
        """Of each topic the partitions' numbers and offsets, by all that is asked of each node."""
        sent = (self._client.send(node, request) for node, request in requests.items())
        answers = await asyncio.gather(*sent)
        found: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for topic, results in (entry for answer in answers for entry in answer.topics):
            for number, code, _, offset in results:
                if code:
                    _check(code)
                found[topic].append((number, offset))
        return found

    async def _committed(
        self, group: str, partitions: Collection[Partition]
    ) -> dict[Partition, tuple[int, str]]:
        node = await self._coordinator(group)
        by_topic: dict[str, list[int]] = defaultdict(list)
        for topic, number in partitions:
            by_topic[topic].append(number)
        request = OffsetFetchRequest(group, list(by_topic.items()))
        try:
            response = await self._client.send(node, request)
            _check(response.error_code)
            return dict(_commits(response.topics))
        except KafkaError:
            self._coordinators.pop(group, None)
            raise

    async def _coordinator(self, group: str) -> int:
        if group not in self._coordinators:
            found = await self._client.coordinator_lookup(CoordinationType.GROUP, group)
            self._coordinators[group] = found
        return self._coordinators[group]

    async def _send_any(self, request: object) -> Any:
        node = self._client.get_random_node()
        if node is None:
            raise NodeNotReadyError("no broker is known")
        return await self._client.send(node, request)


def _commits(
    topics: Sequence[tuple[str, Sequence[tuple[int, int, str, int]]]],
) -> Iterator[tuple[Partition, tuple[int, str]]]:
    for topic, results in topics:
        for number, offset, metadata, code in results:
            _check(code)
            if offset >= 0:
                yield Partition(topic, number), (offset, metadata or "")


def _check(code: int) -> None:
    error = for_code(code)
    if error is not NoError:
        raise error()
