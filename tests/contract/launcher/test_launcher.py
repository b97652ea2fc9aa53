"""What every launcher does, with real consumers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from common.errors import LaunchFailed
from common.events import JobStarted, JobSucceeded, WorkerHeartbeat, WorkerState
from common.job import JobSpec
from common.job_log import JobLog, Start
from common.topic import EVENTS, WORKERS, job_topic
from common.wire import HEADERS, decode_event, decode_heartbeat, encode
from scaler.launchers import Launcher
from tests.contract.launcher.rig import ECHO, OTHER, PATIENCE, Rig, ended

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def heard(log: JobLog) -> AsyncIterator[list[object]]:
    """Everything that consumers say, as it comes."""
    said: list[object] = []
    subscription = await log.subscribe({EVENTS: 1, WORKERS: 1}, group=None, start=Start.EARLIEST)

    async def follow() -> None:
        while True:
            for one in await subscription.receive(100, 1.0):
                decode = decode_heartbeat if one.position.topic == WORKERS else decode_event
                said.append(decode(one.value, one.headers))

    following = asyncio.create_task(follow())
    yield said
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    await subscription.close()


async def until(said: list[object], kind: type, **like: object) -> None:
    def is_like(one: object) -> bool:
        return isinstance(one, kind) and all(getattr(one, k) == v for k, v in like.items())

    async with asyncio.timeout(PATIENCE):
        while not any(map(is_like, said)):  # noqa: ASYNC110  another process decides
            await asyncio.sleep(0.05)


async def test_a_consumer_lives_under_the_name_that_its_heartbeats_bear(
    launcher: Launcher, rig: Rig, log: JobLog
) -> None:
    async with heard(log) as said:
        started = await launcher.start(ECHO)
        assert (started.model, started.device, started.works) == (ECHO, "", True)
        assert await launcher.running() == [started]
        assert await rig.workers() == {started.id}
        ready = {"worker": started.id, "model": ECHO, "state": WorkerState.READY}
        await until(said, WorkerHeartbeat, **ready)


async def test_one_that_is_stopped_finishes_its_job_and_is_told_of_once(
    launcher: Launcher, rig: Rig, log: JobLog
) -> None:
    spec = JobSpec(model=ECHO, parameters={"delay": 3.0})
    await log.append(job_topic(ECHO, spec.priority), "job", encode(spec), HEADERS)
    async with heard(log) as said:
        started = await launcher.start(ECHO)
        await until(said, JobStarted, job="job")
        await launcher.stop(started.id)
        await launcher.stop(started.id)
        [stopping] = await launcher.running()
        assert (stopping.id, stopping.stopping, stopping.works) == (started.id, True, False)
        stopped = await ended(launcher, started.id)
        await until(said, JobSucceeded, job="job")
    assert (stopped.exit_code, stopped.failed, stopped.stopping) == (0, False, True)
    assert await launcher.running() == []
    assert await rig.workers() == set()
    await launcher.stop(started.id)


async def test_one_that_dies_has_failed_and_is_told_of_once(launcher: Launcher, rig: Rig) -> None:
    started = await launcher.start(ECHO)
    await rig.kill(started.id)
    died = await ended(launcher, started.id)
    assert died.failed
    assert died.exit_code in (-9, 137)
    assert await launcher.running() == []


async def test_several_of_several_models_have_each_a_name(launcher: Launcher, rig: Rig) -> None:
    started = [await launcher.start(model) for model in (ECHO, ECHO, OTHER)]
    seen = await launcher.running()
    assert sorted(one.id for one in seen) == sorted(one.id for one in started)
    assert sorted(one.model for one in seen) == [ECHO, ECHO, OTHER]
    assert await rig.workers() == {one.id for one in started}
    assert len({one.id for one in started}) == 3
    await launcher.stop(started[0].id)
    now = {one.id: one.stopping for one in await launcher.running()}
    assert now == {started[0].id: True, started[1].id: False, started[2].id: False}


@pytest.mark.parametrize(
    "model", ["no/such-model", "", "--help", "darkroom/echo; true", "../darkroom/echo", "a\0b"]
)
async def test_nothing_is_started_but_a_model_of_the_catalogue(
    launcher: Launcher, rig: Rig, model: str
) -> None:
    with pytest.raises(LaunchFailed, match="the catalogue has no model"):
        await launcher.start(model)
    assert await launcher.running() == []
    assert await rig.workers() == set()
