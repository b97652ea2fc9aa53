"""Loops that run until the process is to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from common.processes import stop_at_signal

logger = structlog.get_logger()


async def until_stopped(*loops: Coroutine[Any, Any, None]) -> bool:
    """Run all until SIGTERM or SIGINT, and then cancel them. False: one ended before."""
    stop = stop_at_signal()
    tasks = [asyncio.create_task(loop) for loop in loops]
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (stopped, *tasks):
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                logger.error("loop_ended", error=repr(ended))
    return stop.is_set()
