"""How the scaler carries out what was decided: whom it stops, and what cannot be started."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from common.errors import LaunchFailed
from common.events import WorkerHeartbeat, WorkerState
from common.job_log import JobLog
from common.scaling import Rules, ScalingSettings
from scaler.history import History
from scaler.launchers import Launched, Launcher
from scaler.observation import Decision
from scaler.policy import Policy
from scaler.scaler import Scaler

pytestmark = pytest.mark.anyio


class Recording(Launcher):
    """Starts nothing, and writes down whom it was to stop."""

    def __init__(self) -> None:
        super().__init__(["m"])
        self.stopped: list[str] = []

    async def running(self) -> list[Launched]:
        return []

    async def _start(self, model: str, device: str) -> Launched:
        raise AssertionError(model, device)

    async def stop(self, id: str) -> None:
        self.stopped.append(id)

    async def let_go(self) -> None:
        pass


class Refusing(Recording):
    """Can start nothing."""

    tries = 0

    async def _start(self, model: str, device: str) -> Launched:
        self.tries += 1
        raise LaunchFailed(f"no room for {model} {device}")


class Meanwhile(Refusing):
    """While it is asked what runs, something happens."""

    happens: Callable[[], Awaitable[None]] | None = None

    async def running(self) -> list[Launched]:
        if self.happens is not None:
            await self.happens()
        return []


def scaler_of(log: JobLog, launcher: Launcher) -> Scaler:
    """Of one model, which it has begun to look at; one consumer is to run."""
    scaler = Scaler(
        models=["m"],
        rules_of=lambda _, __: Rules(minimum=1, maximum=9),
        log=log,
        launcher=launcher,
        policy=Policy(9),
    )
    scaler._histories["m"] = History("m", 0.0)
    return scaler


async def test_those_that_load_stop_first_and_then_idle_ones(log: JobLog) -> None:
    launcher = Recording()
    scaler = scaler_of(log, launcher)
    ready, loading = WorkerState.READY, WorkerState.LOADING
    states = {
        "a": (ready, ("job",)),
        "b": (loading, ()),
        "c": (ready, ()),
        "d": (ready, ("other",)),
    }
    for worker, (state, running) in states.items():
        heartbeat = WorkerHeartbeat(
            worker=worker,
            model="m",
            state=state,
            at=time.time(),
            host="h",
            pid=1,
            running=running,
        )
        scaler._workers.see(heartbeat)
    launched = [Launched(worker, "m") for worker in states]

    await scaler._apply(Decision("m", 2, ""), launched, 0.0)

    assert launcher.stopped == ["b", "c"]


async def test_one_that_cannot_be_started_is_one_failure_and_the_others_are_not_tried(
    log: JobLog,
) -> None:
    launcher = Refusing()
    scaler = scaler_of(log, launcher)

    await scaler._apply(Decision("m", 8, ""), [], 0.0)

    assert (launcher.tries, scaler._histories["m"].failures) == (1, 1)


@pytest.mark.parametrize("lost", [False, True])
async def test_who_loses_the_lead_while_it_looks_starts_nothing(log: JobLog, lost: bool) -> None:
    launcher = Meanwhile()
    scaler = scaler_of(log, launcher)
    scaler._live.now = ScalingSettings(revision=1)
    scaler._lead.start()
    async with asyncio.timeout(60):
        while not await scaler._lead.held():  # noqa: ASYNC110 - the log decides
            await asyncio.sleep(0.05)

    if lost:
        launcher.happens = scaler._lead.close
    await scaler._turn(time.monotonic())
    await scaler._lead.close()

    assert launcher.tries == (0 if lost else 1)
