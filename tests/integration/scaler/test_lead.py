"""Several scalers on one log: one leads, and another takes over when that one is gone."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from common.job_log import JobLog, open_job_log
from scaler import lead
from scaler.lead import Lead
from tests.integration.scaler.test_scaler import Done, burst

pytestmark = pytest.mark.anyio

PATIENCE = 120.0  # seconds, of a test that waits


@asynccontextmanager
async def seeking(log: JobLog, name: str) -> AsyncIterator[Lead]:
    one = Lead(log, name)
    one.start()
    yield one
    await one.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - other processes decide
            await asyncio.sleep(0.05)


async def until_held(one: Lead) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await one.held():  # noqa: ASYNC110 - the log decides
            await asyncio.sleep(0.05)


async def settled(one: Lead, two: Lead) -> tuple[Lead, Lead]:
    """The one that leads, and the other, once that knows it: the group may still be joining."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for leader, other in ((one, two), (two, one)):
                if other.lost and await leader.held() and not leader.lost:
                    assert not await other.held()
                    return leader, other
            await asyncio.sleep(0.05)


async def test_one_leads_and_the_next_takes_over_when_it_leaves(
    log: JobLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lead, "LOST_SECONDS", 0.0)
    async with seeking(log, "second") as second, seeking(log, "first") as first:
        leader, other = await settled(first, second)
        await leader.close()
        await until_held(other)
        assert not other.lost
        await other.close()
    async with seeking(log, "third") as third:
        await until_held(third)


async def test_the_lead_is_kept_when_its_message_is_renewed(
    log: JobLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lead, "RENEW_SECONDS", 0.0)
    monkeypatch.setattr(lead, "LOOK_SECONDS", 0.1)
    async with seeking(log, "first") as first:
        await until_held(first)
        [before] = (await log.ends(["scaler"])).values()
        async with asyncio.timeout(PATIENCE):
            while (end := (await log.ends(["scaler"]))["scaler"][0]) < before[0] + 9:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await until_held(first)
        [bounds] = (await log.bounds({"scaler": "scaler"})).values()
        assert 1 <= bounds.lag < end / 2  # the older ones are finished


def put_in_its_place(file: Path) -> None:
    """A folder where the log's file was: nothing works any more, to leave it included."""
    for each in file.parent.glob(f"{file.name}*"):
        each.unlink()
    file.mkdir()


async def test_it_seeks_the_lead_again_after_the_log_was_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lead, "RENEW_SECONDS", 0.0)
    file = tmp_path / "log.sqlite"
    log = await open_job_log(f"sqlite:///{file}", partitions=1)
    async with seeking(log, "one") as one:
        await until_held(one)
        put_in_its_place(file)
        await until(lambda: one._subscription is None)
        await asyncio.sleep(1.0)  # in which it tries in vain
        file.rmdir()
        await until_held(one)
    await log.close()


class Scalers:
    """Scalers as processes, as `python -m scaler` starts them."""

    def __init__(self) -> None:
        self.processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> asyncio.subprocess.Process:
        environment = {"DARKROOM_COOLDOWN_SECONDS": "3600", "DARKROOM_GRACE_SECONDS": "2"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scaler"), env={**os.environ, **environment}
        )
        self.processes.append(process)
        return process

    def consumers(self) -> dict[int, list[int]]:
        """The pids of each scaler's consumers that live."""
        found: dict[int, list[int]] = {}
        for process in self.processes:
            try:
                children = psutil.Process(process.pid).children()
                found[process.pid] = [
                    child.pid for child in children if "consumers" in child.cmdline()
                ]
            except psutil.Error:
                found[process.pid] = []
        return found

    async def leader(self) -> int:
        """The one scaler that has consumers: while a group is joining, two may have some."""
        async with asyncio.timeout(PATIENCE):
            while True:
                owners = [pid for pid, consumers in self.consumers().items() if consumers]
                if len(owners) == 1:
                    return owners[0]
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.terminate()
        await asyncio.gather(*(process.wait() for process in self.processes))


async def test_when_the_leader_is_killed_another_goes_on_and_no_job_is_lost(log: JobLog) -> None:
    scalers = Scalers()
    done = Done(log)
    following = asyncio.create_task(done.follow())
    try:
        for _ in range(2):
            await scalers.start()
        sent = await burst(log, 8)
        await until(partial(done.has, len(sent)))
        leader = await scalers.leader()
        [consumer] = scalers.consumers()[leader]

        psutil.Process(leader).kill()
        sent += await burst(log, 8)
        await until(partial(done.has, len(sent)))

        assert await scalers.leader() != leader
        await until(lambda: not psutil.pid_exists(consumer))  # it died with its scaler
        assert sorted(done.jobs) == sorted(sent)
    finally:
        await scalers.stop()
        following.cancel()
        await asyncio.wait([following])


async def test_a_second_scaler_starts_nothing_while_the_first_leads(log: JobLog) -> None:
    scalers = Scalers()
    done = Done(log)
    following = asyncio.create_task(done.follow())
    try:
        first = await scalers.start()
        sent = await burst(log, 1)
        await until(partial(done.has, 1))
        await scalers.start()
        for _ in range(3):  # while the group takes the newcomer in
            sent += await burst(log, 4)
            await until(partial(done.has, len(sent)))
        assert await scalers.leader() == first.pid
        assert sorted(done.jobs) == sorted(sent)
    finally:
        await scalers.stop()
        following.cancel()
        await asyncio.wait([following])
