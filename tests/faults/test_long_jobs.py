"""A job that outlasts every time-out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.events import JobProgress
from common.job_log import open_job_log
from common.topic import EVENTS
from common.wire import decode_event
from infra.kafka import Kafka
from infra.ports import free_ports
from tests.e2e.stack import eventually
from tests.faults.after_outages import all_is_well, ask, attempts
from tests.faults.stack import FaultStack

# Longer than a session of Kafka (10 s), a lease of the embedded log and the watchdog's patience
# (30 s each), the recorder's and the worker's silence (30 s), a request to the store (15 s) and to
# the broker (40 s); the settings below make the sweeper's and the scaler's shorter still.
LONG_SECONDS = 45.0
SWEEPS = "1"  # seconds between two rounds
SWEEPS_AFTER = "2"  # seconds
_REBALANCE = re.compile(r"Preparing to rebalance group (\S+)")


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker of our own, whose log says when a group rebalances."""
    port, controller = free_ports(2)
    broker = Kafka(Path(tmp_path_factory.mktemp("kafka")), port, controller)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def own(kafka: Kafka, servers: dict[str, str]) -> dict[str, str]:
    return {**servers, "DARKROOM_JOB_LOG_URL": f"kafka://{kafka.address}"}


def rebalances(kafka: Kafka) -> int:
    """Of the groups of consumers."""
    groups = _REBALANCE.findall(kafka.log.read_text(errors="replace"))
    return sum("consumers" in group for group in groups)


@pytest.mark.timeout(400)
def test_a_job_longer_than_every_timeout_runs_exactly_once_without_a_rebalance(
    kafka: Kafka, own: dict[str, str], tmp_path: Path
) -> None:
    stacks = []
    for name, found in (("embedded", None), ("servers", own)):
        (tmp_path / name).mkdir()
        stacks.append(
            FaultStack(
                tmp_path / name,
                found,
                DARKROOM_SWEEP_SECONDS=SWEEPS,
                DARKROOM_SWEEP_AFTER_SECONDS=SWEEPS_AFTER,
            )
        )
    with ThreadPoolExecutor(len(stacks)) as pool:
        for each in [pool.submit(outlast, stack, kafka) for stack in stacks]:
            each.result()


def outlast(stack: FaultStack, kafka: Kafka) -> None:
    on_kafka = "DARKROOM_JOB_LOG_URL" in stack.environment
    with stack:
        stack.api()
        stack.recorder()
        stack.notifier()
        stack.consumer()
        stack.start()
        eventually(lambda: ask(stack, wait=10).status_code == 201)  # the consumer is there
        before = rebalances(kafka)
        long = ask(stack, delay=LONG_SECONDS).json()["id"]
        following = ask(stack).json()["id"]  # it waits behind the long one
        all_is_well(stack)
        assert attempts(stack) == {1}
        if on_kafka:  # the embedded log has no groups, and forgets what all have read
            assert rebalances(kafka) == before > 0
            told = asyncio.run(events(stack))
            for job in (long, following):
                assert told[job] == ["JobStarted", "JobSucceeded"]


async def events(stack: FaultStack) -> dict[str, list[str]]:
    """What consumers told of each job, as the log has it, but for progress."""
    log = await open_job_log(stack.environment["DARKROOM_JOB_LOG_URL"])
    subscription = await log.subscribe({EVENTS: 1}, group=None)
    found: dict[str, list[str]] = {}
    while deliveries := await subscription.receive(500, timeout=2.0):
        for each in deliveries:
            event = decode_event(each.value, each.headers)
            if not isinstance(event, JobProgress):
                found.setdefault(event.job, []).append(type(event).__name__)
    await subscription.close()
    await log.close()
    return found
