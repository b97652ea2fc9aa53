"""Consumers that come and go, and meanwhile a job that outlasts every time-out."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from common.events import Event, JobProgress
from common.job_log import open_job_log
from common.topic import EVENTS
from common.wire import decode_event
from infra.kafka import Kafka
from tests.e2e.stack import eventually
from tests.faults.after_outages import ask, unharmed
from tests.faults.asking import Asking
from tests.faults.load import Load
from tests.faults.looking import all_jobs, attempts
from tests.faults.stack import FaultStack

# Longer than a session of Kafka (10 s), a lease of the embedded log and the watchdog's patience
# (30 s each), the recorder's and the worker's silence (30 s), a request to the store (15 s) and to
# the broker (40 s); the settings below make the sweeper's and the scaler's shorter still.
LONG_SECONDS = 45.0
SHORT: dict[str, Any] = {"DARKROOM_SWEEP_SECONDS": "1", "DARKROOM_SWEEP_AFTER_SECONDS": "2"}
VISITS = 10  # each of which makes two rebalances
_REBALANCE = re.compile(r"Stabilized group (\S+)")


@pytest.mark.timeout(1200)
def test_a_long_job_runs_once_without_a_rebalance_and_twenty_of_them_show_no_second_result(
    kafka: Kafka, servers: dict[str, str], tmp_path: Path
) -> None:
    """Each on a stack of its own, at the same time."""
    own = {**servers, "DARKROOM_JOB_LOG_URL": f"kafka://{kafka.address}"}
    for name in ("embedded", "servers", "visited"):
        (tmp_path / name).mkdir()
    visited = FaultStack(tmp_path / "visited", own, DARKROOM_GRACE_SECONDS="20")
    with ThreadPoolExecutor(3) as pool:
        all_of_them = [
            pool.submit(outlast, FaultStack(tmp_path / "embedded", None, **SHORT), kafka),
            pool.submit(outlast, FaultStack(tmp_path / "servers", own, **SHORT), kafka),
            pool.submit(come_and_go, visited, kafka),
        ]
    for each in all_of_them:
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
        before = rebalances(kafka, stack) if on_kafka else 0
        long = ask(stack, delay=LONG_SECONDS).json()["id"]
        following = ask(stack).json()["id"]  # it waits behind the long one
        unharmed(stack)
        assert attempts(all_jobs(stack)) == {1}
        if on_kafka:  # the embedded log has no groups, and forgets what all have read
            assert rebalances(kafka, stack) == before > 0
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
            if isinstance(event, Event) and not isinstance(event, JobProgress):
                found.setdefault(event.job, []).append(type(event).__name__)
    await subscription.close()
    await log.close()
    return found


def come_and_go(stack: FaultStack, kafka: Kafka) -> None:
    """Consumers join the group of one that stays, and leave it, under load."""
    with stack:
        stack.api()
        stack.recorder()
        stack.notifier()
        stack.consumer("staying")
        stack.start()
        eventually(lambda: ask(stack, wait=10).status_code == 201)  # it is there
        with stack.load(Asking(webhook=stack.receiver.url, delay=0.1), rate=6) as load:
            for number in range(VISITS):
                visit(stack, kafka, f"visitor {number}", load)
        assert rebalances(kafka, stack) >= 2 * VISITS
        assert load.unexpected == []
        assert not load.counts["503"]  # no server is gone
        unharmed(stack)


def visit(stack: FaultStack, kafka: Kafka, name: str, load: Load) -> None:
    """It comes, has some of the jobs, and goes."""
    stack.consumer(name)
    after_a_rebalance(stack, kafka, lambda: stack.supervisor.start(name))
    eventually(lambda: stack.supervisor.engines(name))  # it hears a signal
    enough = load.counts["202"] + 6
    eventually(lambda: load.counts["202"] >= enough)
    after_a_rebalance(stack, kafka, lambda: left_in_order(stack, name))


def after_a_rebalance(stack: FaultStack, kafka: Kafka, act: Callable[[], None]) -> None:
    """Act, and wait for the rebalance that this makes."""
    seen = rebalances(kafka, stack)
    act()
    eventually(lambda: rebalances(kafka, stack) > seen)


def left_in_order(stack: FaultStack, name: str) -> None:
    """It was asked to stop while it works, and did."""
    stack.supervisor.hold(name)
    stack.supervisor.signal(name, signal.SIGTERM)
    process = stack.supervisor.programs[name].process
    assert process is not None
    assert process.wait(timeout=300) == 0


def rebalances(kafka: Kafka, stack: FaultStack) -> int:
    """Of the groups of its consumers."""
    prefix = stack.environment["DARKROOM_JOB_LOG_URL"].rpartition("prefix=")[2]
    groups = _REBALANCE.findall(kafka.log.read_text(errors="replace"))
    return sum(prefix in group and "consumers" in group for group in groups)
