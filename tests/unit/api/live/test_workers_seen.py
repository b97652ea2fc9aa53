from __future__ import annotations

from pathlib import Path

import pytest

from api.live.workers_seen import ModelState, WorkersSeen
from common.events import SILENT_SECONDS, WorkerHeartbeat, WorkerState
from common.job_log import open_job_log

pytestmark = pytest.mark.anyio

NOW = 1_000_000.0


@pytest.fixture
async def seen(tmp_path: Path) -> WorkersSeen:
    log = await open_job_log(f"sqlite:///{tmp_path}/log.sqlite")
    await log.close()  # nothing is followed here
    return WorkersSeen(log, clock=lambda: NOW)


def beat(
    state: WorkerState, at: float = NOW, worker: str = "w", reason: str = ""
) -> WorkerHeartbeat:
    return WorkerHeartbeat(
        worker=worker, model="a/b", state=state, at=at, host="h", pid=1, reason=reason
    )


async def test_a_model_without_workers_is_off(seen: WorkersSeen) -> None:
    assert seen.model("a/b").state is ModelState.OFF
    assert seen.model("a/b").reason == "waiting for a consumer"


async def test_one_ready_worker_makes_a_model_ready(seen: WorkersSeen) -> None:
    seen.see(beat(WorkerState.READY, worker="one"))
    seen.see(beat(WorkerState.LOADING, worker="two"))
    model = seen.model("a/b")
    assert (model.state, model.reason, len(model.workers)) == (ModelState.READY, "", 2)


async def test_a_silent_worker_is_gone(seen: WorkersSeen) -> None:
    seen.see(beat(WorkerState.READY, at=NOW - SILENT_SECONDS - 1))
    assert seen.model("a/b").state is ModelState.OFF


async def test_a_stopped_worker_is_gone_at_once(seen: WorkersSeen) -> None:
    seen.see(beat(WorkerState.READY))
    seen.see(beat(WorkerState.STOPPED))
    assert seen.model("a/b").state is ModelState.OFF


async def test_a_failure_is_remembered_until_a_worker_is_ready(seen: WorkersSeen) -> None:
    seen.see(beat(WorkerState.FAILED, at=NOW - 600, reason="no weights"))
    assert (seen.model("a/b").state, seen.model("a/b").reason) == (ModelState.FAILED, "no weights")
    seen.see(beat(WorkerState.LOADING))
    assert seen.model("a/b").state is ModelState.LOADING
    assert "no weights" in seen.model("a/b").reason
    seen.see(beat(WorkerState.READY))
    seen.see(beat(WorkerState.STOPPED))
    assert seen.model("a/b").state is ModelState.OFF


async def test_how_long_a_model_takes_to_be_ready_is_known_from_its_last_worker(
    seen: WorkersSeen,
) -> None:
    assert seen.seconds_to_ready("a/b") is None
    seen.see(beat(WorkerState.LOADING, at=NOW - 20))
    seen.see(beat(WorkerState.LOADING, at=NOW - 10))  # it says so again, while it loads
    assert seen.seconds_to_ready("a/b") is None
    seen.see(beat(WorkerState.READY, at=NOW - 8))
    assert (seen.seconds_to_ready("a/b"), seen.ready("a/b")) == (0.0, 1)
    seen.see(beat(WorkerState.STOPPED))
    assert (seen.seconds_to_ready("a/b"), seen.ready("a/b")) == (12.0, 0)
    seen.see(beat(WorkerState.LOADING, at=NOW - 5, worker="next"))
    assert seen.seconds_to_ready("a/b") == 7.0
    seen.see(beat(WorkerState.FAILED, worker="next", reason="no weights"))
    assert seen.seconds_to_ready("a/b") is None
