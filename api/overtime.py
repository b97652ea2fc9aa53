"""Work that a reply waits for only so long, and that goes on behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

_CLOSE_SECONDS = 10.0


class Overtime:
    """Keeps the work that was not done in time, so that it ends before the process does."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def wait(self, work: Coroutine[None, None, None], seconds: float) -> None:
        """Return when `work` is done, or after `seconds`; it goes on then."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task}, timeout=seconds)

    async def close(self) -> None:
        """Let what is under way end."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_CLOSE_SECONDS)
            for task in late:
                task.cancel()
