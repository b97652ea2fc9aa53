"""Consumers as processes: really started, stopped and missed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from scaler.launchers import Launched, ProcessLauncher

pytestmark = pytest.mark.anyio


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProcessLauncher:
    (tmp_path / "model_names.txt").write_text("darkroom/echo task=echo\n")
    monkeypatch.setenv("DARKROOM_MODEL_NAMES", str(tmp_path / "model_names.txt"))
    monkeypatch.setenv("DARKROOM_DATA_DIR", str(tmp_path / "data"))
    for name in ("DARKROOM_JOB_LOG_URL", "DARKROOM_OBJECT_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    return ProcessLauncher(grace_seconds=5)


async def ended(launcher: ProcessLauncher) -> Launched:
    async with asyncio.timeout(60):
        while True:
            for launched in await launcher.running():
                if launched.exit_code is not None:
                    return launched
            await asyncio.sleep(0.05)


async def test_a_consumer_that_fails_appears_once_more_with_its_exit_code(
    launcher: ProcessLauncher,
) -> None:
    started = await launcher.start("no/such-model")
    failed = await ended(launcher)
    assert (failed.id, failed.exit_code, failed.failed) == (started.id, 2, True)
    assert await launcher.running() == []


async def test_a_consumer_that_is_stopped_ends_cleanly(launcher: ProcessLauncher) -> None:
    started = await launcher.start("darkroom/echo")
    process = psutil.Process(int(started.id))
    assert await launcher.running() == [started]
    async with asyncio.timeout(60):
        while not process.children():  # noqa: ASYNC110  until its engine is there
            await asyncio.sleep(0.05)
    await launcher.stop(started.id)
    assert [one.stopping for one in await launcher.running()] == [True]
    stopped = await ended(launcher)
    assert (stopped.exit_code, stopped.failed) == (0, False)
    assert not process.is_running()


async def test_closing_stops_all(launcher: ProcessLauncher) -> None:
    started = [await launcher.start("darkroom/echo") for _ in range(2)]
    await launcher.close()
    assert not any(psutil.pid_exists(int(one.id)) for one in started)
