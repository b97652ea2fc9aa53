"""The scaler with real consumers: from none to several and back, and no job lost on the way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets

import psutil
import pytest

from common.events import JobSucceeded
from common.job import JobSpec
from common.job_log import JobLog, Start
from common.scaling import Rules
from common.topic import EVENTS, job_topic
from common.wire import HEADERS, decode_event, encode
from scaler.launchers import ProcessLauncher
from scaler.policy import Policy
from scaler.scaler import Scaler
from tests.integration.scaler.conftest import ECHO

pytestmark = pytest.mark.anyio

RULES = Rules(maximum=8, target=3.0, cooldown=2.0, hold_down=2.0)
PATIENCE = 240.0  # seconds, of a test that waits


class Done:
    """The jobs that succeeded, each as often as it did."""

    def __init__(self, log: JobLog) -> None:
        self.jobs: list[str] = []
        self._log = log

    def has(self, jobs: int) -> bool:
        return len(self.jobs) == jobs

    async def follow(self) -> None:
        events = await self._log.subscribe({EVENTS: 1}, group=None, start=Start.EARLIEST)
        try:
            while True:
                for delivery in await events.receive(100, 1.0):
                    event = decode_event(delivery.value, delivery.headers)
                    if isinstance(event, JobSucceeded):
                        self.jobs.append(event.job)
        finally:
            await events.close()


async def burst(log: JobLog, jobs: int) -> list[str]:
    ids = [secrets.token_hex(8) for _ in range(jobs)]
    spec = JobSpec(model=ECHO, parameters={"delay": 0.5})
    topic = job_topic(ECHO, spec.priority)
    await asyncio.gather(*(log.append(topic, id, encode(spec), HEADERS) for id in ids))
    return ids


def consumers() -> int:
    """How many this process has."""
    found = 0
    for child in psutil.Process(os.getpid()).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += child.cmdline()[1:4] == ["-m", "consumers", ECHO]
    return found


@pytest.mark.timeout(600)
async def test_bursts_take_it_from_none_to_the_most_and_back_and_lose_no_job(log: JobLog) -> None:
    done = Done(log)
    scaler = Scaler(
        models=[ECHO],
        rules_of=lambda _, __: RULES,
        log=log,
        launcher=ProcessLauncher([ECHO], grace_seconds=5),
        policy=Policy(8),
    )
    stop = asyncio.Event()
    following = asyncio.create_task(done.follow())
    scaling = asyncio.create_task(scaler.run(stop))
    sent: list[str] = []
    try:
        for _ in range(2):
            sent += await burst(log, 200)
            most = 0
            async with asyncio.timeout(PATIENCE):
                while len(done.jobs) < len(sent) or consumers():
                    most = max(most, consumers())
                    await asyncio.sleep(0.1)
            assert most == RULES.maximum
    finally:
        stop.set()
        await scaling
        following.cancel()
        await asyncio.wait([following])
    assert sorted(done.jobs) == sorted(sent)
    assert consumers() == 0
