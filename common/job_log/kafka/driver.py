"""Beginnings and ends that the driver does not manage by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

_LONGEST_S = 30.0  # more than the driver's own time-outs, one after the other


async def unbroken(work: Coroutine[Any, Any, None]) -> None:
    """Run it to its end, even where the caller is cancelled meanwhile.

    Broken off amid a beginning or an end, the driver forgets connections without closing them.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await _settled(task, _LONGEST_S)
        raise


async def ended(ending: Coroutine[Any, Any, None], *, seconds: float) -> bool:
    """Whether it came to its end, in time and without an error.

    stop() may hang (aio-libs/aiokafka#773).
    """
    task = asyncio.create_task(ending)
    await _settled(task, seconds)
    return not task.cancelled() and task.exception() is None


async def _settled(task: asyncio.Task[None], seconds: float) -> None:
    await asyncio.wait([task], timeout=seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
