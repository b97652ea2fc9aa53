"""How the scaler carries out what was decided: whom it stops, and what cannot be started."""

from __future__ import annotations

import time

import pytest

from common.errors import LaunchFailed
from common.events import WorkerHeartbeat, WorkerState
from common.job_log import JobLog
from common.scaling import Rules
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


def scaler_of(log: JobLog, launcher: Launcher) -> Scaler:
    """Of one model, which it has begun to look at."""
    scaler = Scaler(
        models=["m"],
        rules_of=lambda _, __: Rules(maximum=9),
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
