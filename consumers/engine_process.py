"""The parent's side of the engine's process: start, run, progress, cancel, crash."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

import psutil

from common.catalogue import ModelSpec, Task
from common.crash_points import SETTING as CRASH_AT
from common.errors import EngineCrashed, ModelUnavailable, OutOfMemory
from consumers.engine_protocol import (
    LENGTH_BYTES,
    Cancel,
    Exhausted,
    FromEngine,
    Load,
    Loaded,
    LoadFailed,
    Progress,
    Results,
    RunBatch,
    ToEngine,
    frame,
    from_engine,
)
from consumers.engines.base import EngineInput, EngineResult

CLOSE_SECONDS = 5.0
MIB = 1024 * 1024

OnProgress = Callable[[str, float], None]


class EngineProcess:
    """Holds one child with one model. After EngineCrashed, `start` again."""

    def __init__(
        self, model: ModelSpec, *, device: str = "auto", dtype: str = "auto", max_pixels: int
    ) -> None:
        self._load = Load(model=model, device=device, dtype=dtype, max_pixels=max_pixels)
        self._child: asyncio.subprocess.Process | None = None
        self.device = ""
        self.jobs_run = 0  # since the child started

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self._child.returncode is None else None

    @property
    def memory_mib(self) -> float:
        """Resident memory of the child."""
        if self.pid is None:
            return 0.0
        try:
            return float(psutil.Process(self.pid).memory_info().rss / MIB)
        except psutil.NoSuchProcess:
            return 0.0

    async def start(self) -> None:
        """Start the child and load the model. Raises ModelUnavailable."""
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "consumers.engine_main", str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=_environment(os.environ, self._load.model.task),
        )
        self.jobs_run = 0
        try:
            await self._say(self._load)
            answer = await self._hear()
        except EngineCrashed as error:
            raise ModelUnavailable(f"{error} while it loaded the model") from error
        match answer:
            case Loaded(device=device):
                self.device = device
            case LoadFailed(reason=reason):
                await self.close()
                raise ModelUnavailable(reason)
            case other:
                raise EngineCrashed(f"the engine began with {type(other).__name__}")

    async def run(
        self, batch: Sequence[EngineInput], on_progress: OnProgress
    ) -> list[EngineResult]:
        """One result for each input, in their order. Raises EngineCrashed, OutOfMemory."""
        await self._say(RunBatch(batch=list(batch)))
        self.jobs_run += len(batch)
        while True:
            match await self._hear():
                case Progress(id=id, fraction=fraction):
                    on_progress(id, fraction)
                case Results(results=results):
                    return results
                case Exhausted(reason=reason):
                    raise OutOfMemory(reason)
                case other:
                    raise EngineCrashed(f"the engine answered with {type(other).__name__}")

    async def cancel(self, id: str) -> None:
        """Ask the child to stop working on this job; its result tells whether it did."""
        if self.pid is not None:
            await self._say(Cancel(id=id))

    async def close(self) -> None:
        """End the child, in the middle of a run too."""
        if self._child is None:
            return
        if self._child.stdin:
            self._child.stdin.close()
        try:
            await asyncio.wait_for(self._child.wait(), CLOSE_SECONDS)
        except TimeoutError:
            self._child.kill()
            await self._child.wait()
        self._child = None

    async def _say(self, message: ToEngine) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(frame(message))
            await self._child.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise await self._crashed() from error

    async def _hear(self) -> FromEngine:
        assert self._child is not None
        assert self._child.stdout is not None
        try:
            length = await self._child.stdout.readexactly(LENGTH_BYTES)
            body = await self._child.stdout.readexactly(int.from_bytes(length, "big"))
        except asyncio.IncompleteReadError as error:
            raise await self._crashed() from error
        return from_engine.decode(body)

    async def _crashed(self) -> EngineCrashed:
        assert self._child is not None
        code = await self._child.wait()
        if code < 0:
            name = signal.Signals(-code).name
            hint = " (not enough memory?)" if name == "SIGKILL" else ""
            return EngineCrashed(f"the engine's process was ended by {name}{hint}")
        return EngineCrashed(f"the engine's process ended with exit code {code}")


def _environment(environment: Mapping[str, str], task: Task | None) -> dict[str, str]:
    """What the child may see: no credentials, and for users' own code not even HF_TOKEN."""

    def secret(name: str) -> bool:
        if name.startswith(("DARKROOM_", "AWS_", "PG")):
            return True
        if name.startswith("HF_"):  # HF_HOME leads to a stored token, too
            return task is Task.CUSTOM
        return any(word in name for word in ("TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "_KEY"))

    seen = {
        name: value
        for name, value in environment.items()
        if name == CRASH_AT or not secret(name)  # its own points lie in the child
    }
    return {**seen, "HF_HUB_DISABLE_TELEMETRY": "1"}
