"""Uploads that are stored at about the same time go on together, and share a commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

MOST_SECONDS = 0.1  # that anyone waits for others whose bytes are still on their way


class Gathering:
    """One that is alone waits for nothing; among others, no longer than its own bytes took.

    Sixteen rows in one commit cost a tenth of sixteen commits, but the store answers uploads one
    by one: without this their rows would arrive one by one, too.
    """

    def __init__(self) -> None:
        self._storing = 0
        self._together: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def stored(self, put: Awaitable[None]) -> None:
        """Return once `put` is done, and so are those of the others, or their time is up."""
        self._storing += 1
        began = time.monotonic()
        try:
            await put
        finally:
            self._storing -= 1
            if not self._storing:
                self._go_on()
        if self._storing:
            await self._others(min(time.monotonic() - began, MOST_SECONDS))

    async def _others(self, seconds: float) -> None:
        if self._together is None:
            self._together = asyncio.Event()
            self._timer = asyncio.get_running_loop().call_later(seconds, self._go_on)
        await self._together.wait()

    def _go_on(self) -> None:
        if self._together is not None and self._timer is not None:
            self._timer.cancel()
            self._together.set()
            self._together = self._timer = None
