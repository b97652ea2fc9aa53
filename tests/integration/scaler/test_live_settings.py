"""What is changed while a scaler runs reaches it, and what it decides is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from common.job_log import JobLog, Start, open_job_log
from common.scaling import (
    ModelScaling,
    Rules,
    ScalerStarted,
    ScalingDecided,
    ScalingEvent,
    ScalingMode,
    ScalingSettings,
)
from common.topic import EVENTS
from common.wire import decode_event
from scaler.launchers import Launched, Launcher
from scaler.policy import Policy
from scaler.scaler import Scaler
from tests.integration.scaler.conftest import ECHO, tell
from tests.integration.scaler.test_scaler import burst

pytestmark = pytest.mark.anyio

PATIENCE = 60.0


class Counting(Launcher):
    """Starts nothing real: what was started is counted, and lives until it is stopped."""

    def __init__(self) -> None:
        super().__init__([ECHO])
        self.alive: list[str] = []
        self.started = 0
        self.rounds = 0

    async def running(self) -> list[Launched]:
        self.rounds += 1
        return [Launched(id, ECHO) for id in self.alive]

    async def _start(self, model: str, device: str) -> Launched:  # noqa: ARG002
        self.started += 1
        self.alive.append(str(self.started))
        return Launched(self.alive[-1], model)

    async def stop(self, id: str) -> None:
        self.alive.remove(id)

    async def let_go(self) -> None:
        self.alive.clear()


@asynccontextmanager
async def scaling(log: JobLog, **rules: float) -> AsyncIterator[Counting]:
    launcher = Counting()

    def rules_of(_: str, changed: ModelScaling) -> Rules:
        return Rules(minimum=changed.min or 0, maximum=4)

    scaler = Scaler(models=[ECHO], rules_of=rules_of, log=log, launcher=launcher, policy=Policy(4))
    stop = asyncio.Event()
    running = asyncio.create_task(scaler.run(stop))
    yield launcher
    stop.set()
    await running


async def said(log: JobLog, until: Callable[[ScalingEvent], bool]) -> list[ScalingEvent]:
    """What scalers say, from the first on, until it is that."""
    subscription = await log.subscribe({EVENTS: 1}, group=None, start=Start.EARLIEST)
    found: list[ScalingEvent] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                for delivery in await subscription.receive(100, 1.0):
                    event = decode_event(delivery.value, delivery.headers)
                    if isinstance(event, ScalingEvent):
                        found.append(event)
                        if until(event):
                            return found
    finally:
        await subscription.close()


async def has(launcher: Counting, consumers: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(launcher.alive) != consumers:  # noqa: ASYNC110 - the scaler decides
            await asyncio.sleep(0.05)


async def test_a_scaler_asks_for_the_settings_and_tells_what_it_decides(log: JobLog) -> None:
    await burst(log, 5)
    async with scaling(log) as launcher:
        await has(launcher, 1)
        # One after the other: between partitions there is no order.
        *_, asked = await said(log, lambda event: isinstance(event, ScalerStarted))
        *_, decided = await said(log, lambda event: isinstance(event, ScalingDecided))
    assert isinstance(asked, ScalerStarted)
    assert isinstance(decided, ScalingDecided)
    assert (decided.scaler, decided.model) == (asked.scaler, ECHO)
    assert (decided.before, decided.after, decided.applied) == (0, 1, True)
    assert "5 jobs" in decided.reason


async def test_a_change_reaches_it_while_it_runs_and_an_older_one_does_not(log: JobLog) -> None:
    async with scaling(log) as launcher:
        await tell(log, ScalingSettings(revision=7, models={ECHO: ModelScaling(min=2)}))
        await has(launcher, 2)
        await tell(log, ScalingSettings(revision=6, models={ECHO: ModelScaling(min=4)}))
        await tell(log, ScalingSettings(revision=8, models={ECHO: ModelScaling(min=3)}))
        await has(launcher, 3)
        assert launcher.started == 3


async def rounds(launcher: Counting, more: int) -> None:
    """So many more have gone by."""
    until = launcher.rounds + more
    async with asyncio.timeout(PATIENCE):
        while launcher.rounds < until:  # noqa: ASYNC110 - the scaler decides
            await asyncio.sleep(0.05)


async def test_while_it_is_paused_nothing_is_started_or_stopped(log: JobLog) -> None:
    await tell(log, ScalingSettings(revision=1, mode=ScalingMode.PAUSED))
    await burst(log, 5)
    async with scaling(log) as launcher:
        await rounds(launcher, 4)
        assert launcher.started == 0
        paused = ModelScaling(paused=True)
        await tell(log, ScalingSettings(revision=2, models={ECHO: paused}))
        await rounds(launcher, 4)
        assert launcher.started == 0
        await tell(log, ScalingSettings(revision=3))
        await has(launcher, 1)
        await tell(log, ScalingSettings(revision=4, models={ECHO: ModelScaling(min=3)}))
        await has(launcher, 3)
        fewer = ModelScaling(max=1, paused=True)
        await tell(log, ScalingSettings(revision=5, models={ECHO: fewer}))
        await rounds(launcher, 4)
        assert len(launcher.alive) == 3


async def test_before_it_was_told_the_settings_it_changes_nothing_and_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaler.live_settings.ANSWER_SECONDS", 0.2)
    fresh = await open_job_log(f"sqlite:///{tmp_path}/fresh.sqlite", partitions=4)
    await burst(fresh, 5)
    async with scaling(fresh) as launcher:
        asked: list[ScalingEvent] = []

        def often(event: ScalingEvent) -> bool:
            asked.append(event)
            return len(asked) == 4

        assert {type(event) for event in await said(fresh, often)} == {ScalerStarted}
        assert (launcher.rounds, launcher.started) == (0, 0)
        await tell(fresh, ScalingSettings(revision=0))
        await has(launcher, 1)
    await fresh.close()


async def test_in_a_dry_run_it_only_says_what_it_would_do(log: JobLog) -> None:
    await tell(log, ScalingSettings(revision=1, mode=ScalingMode.DRY_RUN))
    await burst(log, 5)
    async with scaling(log) as launcher:
        *_, decided = await said(log, lambda event: isinstance(event, ScalingDecided))
        assert isinstance(decided, ScalingDecided)
        assert (decided.before, decided.after, decided.applied) == (0, 1, False)
        assert launcher.started == 0
        await tell(log, ScalingSettings(revision=2))
        await has(launcher, 1)
