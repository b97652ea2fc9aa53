"""Consumers as processes of this host: python -m consumers MODEL."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial

from common.errors import LaunchFailed
from common.processes import end_with_parent
from scaler.launchers.base import Launched, Launcher, worker_name

AFTER_GRACE = 15.0  # seconds beyond the consumer's own grace before it is killed


@dataclass(slots=True)
class _Child:
    launched: Launched
    process: asyncio.subprocess.Process
    ending: asyncio.Task[None] | None = None


class ProcessLauncher(Launcher):
    """They inherit this process's settings and output, and are stopped when it ends."""

    def __init__(self, models: Collection[str], *, grace_seconds: float) -> None:
        super().__init__(models)
        self._grace_seconds = grace_seconds
        self._host = socket.gethostname()
        self._children: dict[str, _Child] = {}

    async def running(self) -> list[Launched]:
        seen = [
            replace(
                child.launched,
                stopping=child.ending is not None,
                exit_code=child.process.returncode,
            )
            for child in self._children.values()
        ]
        for launched in seen:
            if launched.exit_code is not None:
                del self._children[launched.id]
        return seen

    async def _start(self, model: str, device: str) -> Launched:
        worker = worker_name(self._host, model)
        environment = {**os.environ, "DARKROOM_WORKER": worker}
        if device:
            environment["CUDA_VISIBLE_DEVICES"] = device
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "consumers", model),
                stdin=asyncio.subprocess.DEVNULL,
                env=environment,
                preexec_fn=partial(end_with_parent, os.getpid(), signal.SIGTERM),
            )
        except OSError as error:
            raise LaunchFailed(f"a consumer of {model} could not be started: {error}") from error
        launched = Launched(worker, model, device)
        self._children[worker] = _Child(launched, process)
        return launched

    async def stop(self, id: str) -> None:
        child = self._children.get(id)
        if child is not None and child.ending is None:
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
