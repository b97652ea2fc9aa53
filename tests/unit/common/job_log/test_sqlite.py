from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from common.errors import LogUnavailable, SettingsInvalid
from common.job_log import Bounds, Delivery, Subscription, TopicPartition
from common.job_log.sqlite.log import LEASE_SECONDS, SqliteJobLog

pytestmark = pytest.mark.anyio

TOPIC = "jobs.m.normal"
PATIENCE = 60.0  # seconds
ROOT = Path(__file__).parents[4]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/log.sqlite"


@asynccontextmanager
async def opened(url: str, lease_seconds: float = LEASE_SECONDS) -> AsyncIterator[SqliteJobLog]:
    log = await SqliteJobLog.open(url, lease_seconds=lease_seconds)
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def holding_process(url: str, lease_seconds: float) -> AsyncIterator[Process]:
    command = (sys.executable, "-m", "tests.unit.common.job_log.reader_process", url)
    process = await asyncio.create_subprocess_exec(
        *command, str(lease_seconds), cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    try:
        await _says(process, b"holding\n")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def holding_ready(url: str, log: SqliteJobLog) -> AsyncIterator[Process]:
    await log.append(TOPIC, "k", b"1", {})
    async with holding_process(url, 1) as process:
        yield process


async def _says(process: Process, line: bytes) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        assert await process.stdout.readline() == line


async def _one(subscription: Subscription, within: float = PATIENCE) -> Delivery:
    [delivery] = await subscription.receive(1, timeout=within)
    return delivery


async def _bounds(log: SqliteJobLog, group: str | None = "g") -> Bounds:
    return (await log.bounds({TOPIC: group}))[TopicPartition(TOPIC, 0)]


async def _until(holds: Callable[[Bounds], bool], log: SqliteJobLog) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if holds(await _bounds(log)):
                return
            await asyncio.sleep(0.1)


def _remove_log(folder: Path) -> None:
    for path in folder.glob("log.sqlite*"):
        path.unlink()


async def test_the_url_makes_its_folders_and_keeps_what_was_appended(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new/deeper/log.sqlite"
    async with opened(url) as log:
        await log.append(TOPIC, "k", b"kept", {})

    async with opened(url) as log:
        subscription = await log.subscribe({TOPIC: 1}, group="g")
        assert (await _one(subscription)).value == b"kept"
        await subscription.close()


async def test_a_relative_url_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened("sqlite:///data/log.sqlite"):
        assert (tmp_path / "data" / "log.sqlite").exists()


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite://log.sqlite", "file:///log.sqlite"])
async def test_a_url_without_a_path_is_no_setting(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="names no file"):
        await SqliteJobLog.open(url)


async def test_several_openers_may_make_the_file_at_once(url: str) -> None:
    logs = await asyncio.gather(*(SqliteJobLog.open(url) for _ in range(8)))

    positions = await asyncio.gather(*(log.append(TOPIC, "k", b"", {}) for log in logs))

    assert sorted(position.offset for position in positions) == list(range(8))
    for log in logs:
        await log.close()


async def test_what_a_killed_process_held_is_free_long_before_its_lease_ends(url: str) -> None:
    async with opened(url) as log:
        await log.append(TOPIC, "k", b"1", {})
        subscription = await log.subscribe({TOPIC: 1}, group="g")
        await subscription.release(await _one(subscription))
        async with holding_process(url, LEASE_SECONDS) as process:
            process.kill()
            await process.wait()

            assert (await _one(subscription, within=LEASE_SECONDS / 3)).value == b"1"
        await subscription.close()


async def test_a_log_opened_after_a_kill_begins_with_what_the_dead_held(url: str) -> None:
    async with opened(url) as log:
        await log.append(TOPIC, "k", b"1", {})
    async with holding_process(url, LEASE_SECONDS) as process:
        process.kill()
        await process.wait()

    async with opened(url) as log:
        subscription = await log.subscribe({TOPIC: 1}, group="g")
        assert [delivery.value for delivery in await subscription.receive(1, timeout=0)] == [b"1"]
        await subscription.close()


async def test_a_stopped_reader_loses_its_lease_and_cannot_finish_what_another_holds(
    url: str,
) -> None:
    async with opened(url, lease_seconds=1) as log, holding_ready(url, log) as process:
        process.send_signal(signal.SIGSTOP)
        subscription = await log.subscribe({TOPIC: 1}, group="g")
        held = await _one(subscription)

        process.send_signal(signal.SIGCONT)
        assert process.stdin is not None
        process.stdin.write(b"\n")
        await _says(process, b"acknowledged\n")

        assert (await _bounds(log)).lag == 1
        await subscription.acknowledge(held)
        assert (await _bounds(log)).lag == 0
        await subscription.close()


async def test_a_lease_is_renewed_while_its_reader_lives(url: str) -> None:
    async with opened(url, lease_seconds=1) as log, opened(url, lease_seconds=1) as other:
        await log.append(TOPIC, "k", b"1", {})
        holder = await log.subscribe({TOPIC: 1}, group="g")
        held = await _one(holder)
        waiting = await other.subscribe({TOPIC: 1}, group="g")

        assert await waiting.receive(1, timeout=3) == []
        await holder.acknowledge(held)
        await holder.close()
        await waiting.close()


async def test_closing_the_log_gives_up_what_open_subscriptions_held(url: str) -> None:
    async with opened(url) as log:
        await log.append(TOPIC, "k", b"1", {})
        subscription = await log.subscribe({TOPIC: 1}, group="g")
        async with opened(url) as other:
            await _one(await other.subscribe({TOPIC: 1}, group="g"))

        assert (await _one(subscription)).value == b"1"
        await subscription.close()


async def test_what_all_groups_finished_is_removed_and_its_offsets_stay_used(url: str) -> None:
    async with opened(url) as log:
        for number in range(5):
            await log.append(TOPIC, f"k{number}", b"", {})
        subscription = await log.subscribe({TOPIC: 1}, group="g")
        await subscription.acknowledge(*await subscription.receive(5, timeout=PATIENCE))

        await _until(lambda bounds: bounds == Bounds(start=5, committed=5, end=5), log)

        assert (await log.append(TOPIC, "k", b"", {})).offset == 5
        await subscription.close()


async def test_a_removed_file_is_unavailable_once_and_then_made_anew(
    url: str, tmp_path: Path
) -> None:
    async with opened(url) as log:
        shared = await log.subscribe({TOPIC: 1}, group="g")
        everything = await log.subscribe({TOPIC: 1}, group=None)
        for _ in range(2):
            await log.append(TOPIC, "k", b"old", {})
        await shared.acknowledge(*await shared.receive(2, timeout=PATIENCE))
        await everything.receive(2, timeout=PATIENCE)
        _remove_log(tmp_path)

        with pytest.raises(LogUnavailable):
            await log.append(TOPIC, "k", b"lost", {})
        position = await log.append(TOPIC, "k", b"new", {})

        assert position.offset == 0
        assert (await _one(shared)).value == b"new"
        assert (await _one(everything)).value == b"new"
        await shared.close()
        await everything.close()


async def test_a_file_that_is_no_database_is_unavailable(url: str, tmp_path: Path) -> None:
    (tmp_path / "log.sqlite").write_bytes(b"this is not a database" * 100)

    with pytest.raises(LogUnavailable, match="not a database") as raised:
        await SqliteJobLog.open(url)
    assert raised.value.__cause__ is not None


async def test_a_closed_log_is_unavailable(url: str) -> None:
    log = await SqliteJobLog.open(url)
    await log.close()

    with pytest.raises(LogUnavailable, match="closed"):
        await log.append(TOPIC, "k", b"", {})


async def test_text_that_has_no_bytes_fails_its_own_append_alone(url: str) -> None:
    async with opened(url) as log:
        fine = asyncio.create_task(log.append(TOPIC, "k", b"", {}))
        with pytest.raises(UnicodeEncodeError):
            await log.append(TOPIC, "\ud800", b"", {})

        assert (await fine).offset == 0
