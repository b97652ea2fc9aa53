"""Consumers as processes of this host: python -m consumers MODEL."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from functools import partial

from common.errors import LaunchFailed
from common.processes import end_with_parent
from scaler.launchers.base import Launched, Launcher

AFTER_GRACE = 15.0  # seconds beyond the consumer's own grace before it is killed


@dataclass(slots=True)
class _Child:
    model: str
    process: asyncio.subprocess.Process
    ending: asyncio.Task[None] | None = None


class ProcessLauncher(Launcher):
    """They inherit this process's settings, and are stopped when it dies."""

    def __init__(self, *, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._children: dict[str, _Child] = {}

    async def running(self) -> list[Launched]:
        seen = [
            Launched(
                id,
                child.model,
                child.process.pid,
                child.ending is not None,
                child.process.returncode,
            )
            for id, child in self._children.items()
        ]
        for launched in seen:
            if launched.exit_code is not None:
                del self._children[launched.id]
        return seen

    async def start(self, model: str) -> Launched:
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "consumers", model),
                stdin=asyncio.subprocess.DEVNULL,
                preexec_fn=partial(end_with_parent, os.getpid(), signal.SIGTERM),
            )
        except OSError as error:
            raise LaunchFailed(f"a consumer of {model} could not be started: {error}") from error
        id = str(process.pid)
        self._children[id] = _Child(model, process)
        return Launched(id, model, process.pid)

    async def stop(self, id: str) -> None:
        child = self._children[id]
        if child.ending is None:
            child.ending = asyncio.create_task(self._end(child.process))

    async def close(self) -> None:
        for id in self._children:
            await self.stop(id)
        await asyncio.gather(*(c.ending for c in self._children.values() if c.ending))

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._grace_seconds + AFTER_GRACE)
        except TimeoutError:
            process.kill()
            await process.wait()
