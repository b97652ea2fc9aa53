"""The scaler's loop over a launcher of this test, on a log that really runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from common.catalogue import Catalogue, ModelSpec, Task
from common.job import JobSpec, Priority
from common.job_log import open_job_log
from common.topic import job_topic
from common.wire import HEADERS, encode
from scaler.launchers import Launched, Launcher
from scaler.policy import ModelSeen, Policy
from scaler.scaler import Scaler

pytestmark = pytest.mark.anyio

MODEL = "darkroom/echo"


class DyingLauncher(Launcher):
    """Each consumer lives for so many rounds and then fails."""

    def __init__(self, rounds: int) -> None:
        self._rounds, self._left = rounds, 0
        self.starts = 0

    async def running(self) -> list[Launched]:
        if not self._left:
            return []
        self._left -= 1
        return [Launched("1", MODEL, exit_code=None if self._left else 1)]

    async def start(self, model: str) -> Launched:
        self.starts += 1
        self._left = self._rounds
        return Launched("1", model)

    async def stop(self, _: str) -> None:
        raise AssertionError("there is work: nothing is to be stopped")

    async def close(self) -> None:
        pass


class NotedPolicy(Policy):
    """Notes the failures that it was shown, and never waits for a backoff."""

    def __init__(self) -> None:
        super().__init__(slots=1)
        self.failures: list[int] = []

    def decide(self, seen: object, now: float) -> list[object]:  # type: ignore[override]
        models: list[ModelSeen] = seen  # type: ignore[assignment]
        self.failures.append(models[0].failures)
        return super().decide(models, now + 1e6)  # type: ignore[return-value]


async def test_deaths_are_counted_until_one_outlives_the_last(tmp_path: Path) -> None:
    log = await open_job_log(f"sqlite:///{tmp_path}/log.sqlite")
    spec = JobSpec(model=MODEL)
    await log.append(job_topic(MODEL, Priority.NORMAL), "a", encode(spec), HEADERS)
    policy, launcher = NotedPolicy(), DyingLauncher(rounds=3)
    scaler = Scaler(
        catalogue=Catalogue([ModelSpec(name=MODEL, task=Task.ECHO)]),
        log=log,
        launcher=launcher,
        policy=policy,
        idle_seconds=60,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(scaler.run(stop))
    async with asyncio.timeout(60):
        while launcher.starts < 4:  # noqa: ASYNC110  the launcher is called, it calls nobody
            await asyncio.sleep(0.05)
    stop.set()
    await running
    await log.close()
    assert policy.failures == sorted(policy.failures)
    assert policy.failures[-1] >= 3
