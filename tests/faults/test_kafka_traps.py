"""What aiokafka is known to do to its users, done to us: stalls, hanging stops, zombies."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from common.errors import LogUnavailable
from common.job_log import Delivery, JobLog, Start, Subscription
from common.job_log.kafka.log import KafkaJobLog
from common.job_log.kafka.reader import SESSION_MS
from infra.kafka import Kafka, Proxied
from infra.ports import free_ports
from tests.faults.tcp_proxy import TcpProxy

pytestmark = pytest.mark.anyio

JOBS = "jobs.m.normal"
PATIENCE_S = 4.0  # of the watchdog
DEADLINE_S = 30.0  # less than the driver's own time-out of a request, 40 s
_FETCH = (1).to_bytes(2, "big")  # the kind of request, behind its length


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker of our own, which some of its clients reach through a proxy."""
    port, controller, inner, outer = free_ports(4)
    broker = Kafka(Path(tmp_path_factory.mktemp("kafka")), port, controller)
    broker.proxied = [Proxied(inner, outer)]
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def proxy(kafka: Kafka) -> Iterator[TcpProxy]:
    [way] = kafka.proxied
    with TcpProxy(way.proxy, way.port) as proxy:
        yield proxy


@pytest.fixture
def prefix() -> str:
    return secrets.token_hex(4) + "."


@asynccontextmanager
async def opened(port: int, prefix: str, patience: float = PATIENCE_S) -> AsyncIterator[JobLog]:
    url = f"kafka://127.0.0.1:{port}?prefix={prefix}"
    log = await KafkaJobLog.open(url, patience=patience)
    try:
        yield log
    finally:
        await log.close()


async def collect(subscription: Subscription, keys: set[str]) -> list[Delivery]:
    """All that comes until each of the keys has."""
    found: list[Delivery] = []
    async with asyncio.timeout(DEADLINE_S):
        while not {delivery.key for delivery in found} >= keys:
            try:
                found += await subscription.receive(100, timeout=0.2)
            except LogUnavailable:
                continue
    return found


async def settled(log: JobLog) -> None:
    """Wait until everything is acknowledged."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            bounds = await log.bounds({JOBS: "g"})
            if not sum(each.lag for each in bounds.values()):
                return
            await asyncio.sleep(0.1)


def _is_fetch(chunk: bytes) -> bool:
    return chunk[4:6] == _FETCH


@pytest.mark.parametrize("group", ["g", None])
async def test_a_subscription_whose_fetches_get_no_answer_is_rebuilt_by_its_watchdog(
    kafka: Kafka, proxy: TcpProxy, prefix: str, group: str | None
) -> None:
    async with opened(kafka.port, prefix) as direct, opened(proxy.port, prefix) as log:
        subscription = await log.subscribe({JOBS: 1}, group=group, start=Start.EARLIEST)
        await direct.append(JOBS, "before", b"", {})
        before = await collect(subscription, {"before"})
        await subscription.acknowledge(*before)

        proxy.freeze(_is_fetch)
        async with asyncio.timeout(DEADLINE_S):
            while not proxy.froze:  # noqa: ASYNC110 - it counts in its own thread
                await asyncio.sleep(0.05)
        proxy.freeze(None)
        after = {str(number) for number in range(20)}
        for key in after:
            await direct.append(JOBS, key, b"", {})

        found = await collect(subscription, after)
        assert Counter(delivery.key for delivery in found) == Counter(after)
        await subscription.acknowledge(*found)
        if group is not None:
            await settled(direct)
        await subscription.close()


async def test_a_stop_under_load_returns_although_the_broker_answers_nothing(
    kafka: Kafka, proxy: TcpProxy, prefix: str
) -> None:
    async with opened(kafka.port, prefix) as direct:
        log = await KafkaJobLog.open(f"kafka://127.0.0.1:{proxy.port}?prefix={prefix}")
        subscription = await log.subscribe({JOBS: 1}, group="g", capacity=50)
        keys = {str(number) for number in range(100)}
        for key in keys:
            await direct.append(JOBS, key, b"", {})
        held = await subscription.receive(50, timeout=DEADLINE_S)
        assert held
        appending = [asyncio.create_task(log.append(JOBS, "late", b"", {})) for _ in range(20)]

        proxy.cut()
        acknowledging = asyncio.create_task(subscription.acknowledge(*held))
        async with asyncio.timeout(60):
            await subscription.close()
            await log.close()
            ends = await asyncio.gather(*appending, acknowledging, return_exceptions=True)
        assert all(isinstance(end, LogUnavailable | tuple) or end is None for end in ends), ends

        proxy.heal()  # the group learns that the member is gone, and gives all to the next
        other = await direct.subscribe({JOBS: 1}, group="g")
        await collect(other, keys)
        await other.close()


async def test_a_member_behind_a_partition_finishes_nothing_that_another_has_now(
    kafka: Kafka, proxy: TcpProxy, prefix: str
) -> None:
    async with opened(kafka.port, prefix) as direct, opened(proxy.port, prefix) as log:
        zombie = await log.subscribe({JOBS: 1}, group="g")
        for number in range(20):
            await direct.append(JOBS, str(number), b"", {})
        keys = {str(number) for number in range(20)}
        held = await collect(zombie, keys)

        proxy.cut()
        other = await direct.subscribe({JOBS: 1}, group="g")
        taken = await collect(other, keys)  # once the zombie's session is over
        finishing = asyncio.create_task(_insist(zombie, held))
        lasting = time.monotonic() + SESSION_MS / 1000
        while time.monotonic() < lasting:
            assert await other.receive(1, timeout=0.5) == []
        assert not finishing.done()
        await _lag_is(direct, 20)

        proxy.heal()
        await finishing
        await _insist(other, taken)
        again = await _take_all(direct, zombie, other)  # what is the zombie's once more
        assert set(again) <= keys

        later = {f"later {number}" for number in range(40)}
        for key in later:
            await direct.append(JOBS, key, b"", {})
        assert Counter(await _take_all(direct, zombie, other)) == Counter(later)
        await zombie.close()
        await other.close()


async def _insist(subscription: Subscription, deliveries: list[Delivery]) -> None:
    while True:
        try:
            await subscription.acknowledge(*deliveries)
        except LogUnavailable:
            continue
        return


async def _lag_is(log: JobLog, wanted: int) -> None:
    bounds = await log.bounds({JOBS: "g"})
    assert sum(each.lag for each in bounds.values()) == wanted


async def _take_all(log: JobLog, *subscriptions: Subscription) -> list[str]:
    """What comes to any of them, acknowledged, until everything is."""
    found: list[str] = []

    async def take(subscription: Subscription) -> None:
        while True:
            try:
                deliveries = await subscription.receive(100, timeout=0.2)
                # Before they are acknowledged, for then this may be canceled.
                found.extend(delivery.key for delivery in deliveries)
                await subscription.acknowledge(*deliveries)
            except LogUnavailable:
                continue

    taking = [asyncio.create_task(take(subscription)) for subscription in subscriptions]
    await settled(log)
    for task in taking:
        task.cancel()
    await asyncio.gather(*taking, return_exceptions=True)
    return found
