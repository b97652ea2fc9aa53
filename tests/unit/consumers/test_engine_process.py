"""The engine's process, for real: children are started, crashed and canceled."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from common.catalogue import ModelSpec, Task
from common.errors import EngineCrashed, ModelUnavailable
from consumers.engine_process import EngineProcess
from consumers.engines.base import EngineInput, EngineOutput, EngineStop

pytestmark = pytest.mark.anyio

ECHO = ModelSpec(name="darkroom/echo", task=Task.ECHO)
PIXELS = 40_000_000


def nothing(_id: str, _fraction: float) -> None:
    pass


@pytest.fixture
async def echo() -> AsyncIterator[EngineProcess]:
    engine = EngineProcess(ECHO, max_pixels=PIXELS)
    await engine.start()
    yield engine
    await engine.close()


def custom(folder: Path, body: str) -> ModelSpec:
    """A custom model whose `infer` does `body`."""
    file = folder / "model.py"
    file.write_text(
        "import os, signal\n"
        "from consumers.custom_infer import CustomModel\n"
        "class Mine(CustomModel):\n"
        "    def load(self): pass\n"
        f"    def infer(self, image): {body}\n"
    )
    return ModelSpec(name="mine", task=Task.CUSTOM, path=file)


async def test_a_result_comes_back_for_each_input_in_order(echo: EngineProcess) -> None:
    batch = [EngineInput(id=str(n), parameters={"prompt": f"p{n}"}) for n in range(3)]
    results = await echo.run(batch, nothing)
    assert [r.text for r in results if isinstance(r, EngineOutput)] == ["p0", "p1", "p2"]
    assert echo.jobs_run == 3
    assert echo.memory_mib > 1


async def test_a_killed_engine_is_told_as_a_crash_and_can_start_again(echo: EngineProcess) -> None:
    slow = EngineInput(id="a", parameters={"prompt": "x", "delay": 60.0})
    running = asyncio.create_task(echo.run([slow], nothing))
    await asyncio.sleep(0)
    assert echo.pid is not None
    os.kill(echo.pid, signal.SIGKILL)
    with pytest.raises(EngineCrashed, match="SIGKILL"):
        await running
    assert echo.pid is None
    await echo.start()
    (result,) = await echo.run([EngineInput(id="b", parameters={"prompt": "y"})], nothing)
    assert result == EngineOutput(text="y")


async def test_a_running_job_stops_when_it_is_canceled(echo: EngineProcess) -> None:
    told = asyncio.Event()
    slow = EngineInput(id="a", parameters={"delay": 60.0})
    running = asyncio.create_task(echo.run([slow], lambda _id, _part: told.set()))
    await asyncio.wait_for(told.wait(), 30)
    await echo.cancel("a")
    assert await asyncio.wait_for(running, 30) == [EngineStop()]


async def test_a_cancellation_does_not_outlive_its_batch(echo: EngineProcess) -> None:
    await echo.cancel("a")
    await echo.run([EngineInput(id="a", parameters={"prompt": "x"})], nothing)
    (again,) = await echo.run([EngineInput(id="a", parameters={"prompt": "x"})], nothing)
    assert again == EngineOutput(text="x")


async def test_a_segfault_is_a_crash_with_the_signals_name(
    tmp_path: Path, sample_jpeg: bytes
) -> None:
    engine = EngineProcess(
        custom(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)"), max_pixels=PIXELS
    )
    await engine.start()
    with pytest.raises(EngineCrashed, match="SIGSEGV"):
        await engine.run([EngineInput(id="a", inputs={"image": sample_jpeg})], nothing)
    await engine.close()


@pytest.mark.parametrize("point", ["engine.before_run", "engine.after_run"])
async def test_its_crash_points_are_armed_by_the_parents_environment(
    point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_CRASH_AT", point)
    engine = EngineProcess(ECHO, max_pixels=PIXELS)
    await engine.start()
    with pytest.raises(EngineCrashed, match="SIGKILL"):
        await engine.run([EngineInput(id="a", parameters={"prompt": "x"})], nothing)
    await engine.close()


async def test_a_model_that_prints_does_not_disturb_the_pipe(
    tmp_path: Path, sample_jpeg: bytes
) -> None:
    engine = EngineProcess(
        custom(tmp_path, "print('x' * 9999, flush=True); os.write(1, b'y'); return 'fine'"),
        max_pixels=PIXELS,
    )
    await engine.start()
    (result,) = await engine.run([EngineInput(id="a", inputs={"image": sample_jpeg})], nothing)
    assert isinstance(result, EngineOutput)
    assert result.text == "fine"
    await engine.close()


async def test_a_text_that_cannot_be_encoded_loses_what_cannot(
    tmp_path: Path, sample_jpeg: bytes
) -> None:
    engine = EngineProcess(custom(tmp_path, r"return 'a\ud800b\0c'"), max_pixels=PIXELS)
    await engine.start()
    (result,) = await engine.run([EngineInput(id="a", inputs={"image": sample_jpeg})], nothing)
    assert result == EngineOutput(text="abc")
    await engine.close()


async def test_custom_code_sees_no_credentials(
    tmp_path: Path, sample_jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        "AWS_SECRET_ACCESS_KEY": "canary-1",
        "DARKROOM_DATABASE_URL": "canary-2",
        "HF_TOKEN": "canary-3",
        "HF_HOME": "/canary-5",
        "MY_PASSWORD": "canary-4",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    engine = EngineProcess(custom(tmp_path, "return repr(dict(os.environ))"), max_pixels=PIXELS)
    await engine.start()
    (result,) = await engine.run([EngineInput(id="a", inputs={"image": sample_jpeg})], nothing)
    assert isinstance(result, EngineOutput)
    assert result.text is not None
    assert "PATH" in result.text
    assert "canary" not in result.text
    await engine.close()


async def test_a_model_of_the_hub_gets_its_token_and_nothing_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = ("AWS_PROFILE", "PGHOST", "DARKROOM_JOB_LOG_URL")
    for name in (*ours, "HF_TOKEN", "HF_HOME"):
        monkeypatch.setenv(name, "canary")
    engine = EngineProcess(ECHO, max_pixels=PIXELS)
    await engine.start()
    seen = psutil.Process(engine.pid).environ()
    await engine.close()
    assert (seen["HF_TOKEN"], seen["HF_HOME"]) == ("canary", "canary")
    assert not set(ours) & set(seen)


async def test_a_model_that_cannot_load_says_why(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import there_is_no_such_package\n")
    engine = EngineProcess(ModelSpec(name="broken", task=Task.CUSTOM, path=file), max_pixels=PIXELS)
    with pytest.raises(ModelUnavailable, match="there_is_no_such_package"):
        await engine.start()
    assert engine.pid is None


def test_the_engine_dies_with_its_parent() -> None:
    program = (
        "import asyncio, sys, time\n"
        "from common.catalogue import ModelSpec, Task\n"
        "from consumers.engine_process import EngineProcess\n"
        "async def main():\n"
        "    engine = EngineProcess(ModelSpec(name='e', task=Task.ECHO), max_pixels=1)\n"
        "    await engine.start()\n"
        "    print(engine.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
