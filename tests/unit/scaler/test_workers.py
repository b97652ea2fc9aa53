from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from common.events import WorkerHeartbeat, WorkerState
from common.job_log.sqlite.log import SqliteJobLog
from scaler.workers import LONGEST_COLD_START, SILENT, USUAL_COLD_START, Workers

pytestmark = pytest.mark.anyio


@pytest.fixture
async def workers(tmp_path: Path) -> Workers:
    log = await SqliteJobLog.open(f"sqlite:///{tmp_path}/log.sqlite")
    await log.close()  # nothing is followed: heartbeats are handed in
    return Workers(log, clock=lambda: NOW[0])


NOW = [0.0]


def heartbeat(
    state: WorkerState,
    at: float,
    *,
    worker: str = "w",
    jobs: int = 0,
    busy: float = 0,
) -> WorkerHeartbeat:
    return WorkerHeartbeat(
        worker=worker, model="m", state=state, at=at, host="h", pid=1, jobs=jobs, busy=busy
    )


async def test_a_worker_is_ready_from_when_it_says_so_until_it_stops(workers: Workers) -> None:
    assert not workers.is_ready("w")
    workers.see(heartbeat(WorkerState.LOADING, 0.0))
    assert not workers.is_ready("w")
    workers.see(heartbeat(WorkerState.READY, 30.0))
    assert workers.is_ready("w")
    assert not workers.is_ready("another")
    workers.see(heartbeat(WorkerState.STOPPED, 40.0))
    assert not workers.is_ready("w")


async def test_the_cold_start_is_that_of_the_last_one(workers: Workers) -> None:
    assert workers.cold_start("m") == USUAL_COLD_START
    workers.see(heartbeat(WorkerState.LOADING, 100.0))
    workers.see(heartbeat(WorkerState.LOADING, 110.0))
    assert workers.cold_start("m") == USUAL_COLD_START
    workers.see(heartbeat(WorkerState.READY, 145.0))
    assert workers.cold_start("m") == 45.0
    workers.see(heartbeat(WorkerState.LOADING, 200.0, worker="failing"))
    workers.see(heartbeat(WorkerState.FAILED, 201.0, worker="failing"))
    assert workers.cold_start("m") == 45.0


async def test_seconds_per_job_follow_what_is_told_last(workers: Workers) -> None:
    assert workers.seconds_per_job("m") is None
    workers.see(heartbeat(WorkerState.READY, 0.0))
    assert workers.seconds_per_job("m") is None
    workers.see(heartbeat(WorkerState.READY, 1.0, jobs=1, busy=4.0))
    assert workers.seconds_per_job("m") == 4.0
    for beat in range(1, 30):
        workers.see(
            heartbeat(WorkerState.READY, 1.0 + beat, jobs=1 + 10 * beat, busy=4.0 + 20.0 * beat)
        )
    assert workers.seconds_per_job("m") == pytest.approx(2.0, rel=0.01)


async def test_two_workers_count_each_for_itself(workers: Workers) -> None:
    workers.see(heartbeat(WorkerState.READY, 0.0, worker="a", jobs=10, busy=10.0))
    workers.see(heartbeat(WorkerState.READY, 0.0, worker="b", jobs=10, busy=30.0))
    seconds = workers.seconds_per_job("m")
    assert seconds is not None
    assert 1.9 < seconds < 2.2


async def test_a_worker_that_falls_silent_is_forgotten_by_our_own_clock(workers: Workers) -> None:
    workers.see(heartbeat(WorkerState.READY, 0.0))
    workers.see(heartbeat(WorkerState.READY, 9e9, worker="of a wrong clock"))
    assert workers.is_ready("w")
    NOW[0] += SILENT + 1
    workers.see(heartbeat(WorkerState.READY, 1.0, worker="another"))
    assert not workers.is_ready("w")
    assert workers.is_ready("another")


async def test_what_is_read_again_changes_nothing(workers: Workers) -> None:
    beats = [
        heartbeat(WorkerState.LOADING, 0.0),
        heartbeat(WorkerState.READY, 10.0),
        heartbeat(WorkerState.READY, 20.0, jobs=5, busy=10.0),
    ]
    for beat in beats:
        workers.see(beat)
    for beat in beats:
        workers.see(beat)
        assert workers.is_ready("w")
        assert workers.seconds_per_job("m") == 2.0


@pytest.mark.parametrize(("ready_at", "seconds"), [(-50.0, 0.0), (9000.0, LONGEST_COLD_START)])
async def test_a_clock_that_jumps_or_a_download_makes_no_absurd_cold_start(
    workers: Workers, ready_at: float, seconds: float
) -> None:
    workers.see(heartbeat(WorkerState.LOADING, 0.0))
    workers._last.clear()  # as after a restart: what is older than the last would be passed over
    workers.see(heartbeat(WorkerState.READY, ready_at))
    assert workers.cold_start("m") == seconds


async def test_a_worker_is_busy_while_it_has_a_job(workers: Workers) -> None:
    ready = heartbeat(WorkerState.READY, 0.0)
    workers.see(ready)
    assert not workers.is_busy("w")
    workers.see(msgspec.structs.replace(ready, at=1.0, running=("job",)))
    assert workers.is_busy("w")
    assert not workers.is_busy("another")


async def test_a_job_that_gets_further_is_noted_by_our_own_clock(workers: Workers) -> None:
    NOW[0] = 5.0
    first = heartbeat(WorkerState.READY, 1.0)
    workers.see(first)
    assert workers.moved("m") == float("-inf")
    NOW[0] = 6.0
    moved = msgspec.structs.replace(first, at=2.0, moved_at=1.5)
    workers.see(moved)
    NOW[0] = 7.0
    workers.see(msgspec.structs.replace(moved, at=3.0))
    assert workers.moved("m") == 6.0


async def test_what_a_model_needs_is_the_most_that_a_worker_held_lately(workers: Workers) -> None:
    assert workers.memory("m") == 0
    first = heartbeat(WorkerState.READY, 1.0)
    for at, memory in ((1.0, 1000), (2.0, 3000), (3.0, 2000)):
        workers.see(msgspec.structs.replace(first, at=at, memory=memory))
    assert 2900 < workers.memory("m") <= 3000
    for at in range(4, 200):
        workers.see(msgspec.structs.replace(first, at=float(at), memory=2000))
    assert workers.memory("m") == 2000
