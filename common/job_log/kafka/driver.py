"""Beginnings and ends that the driver does not manage by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

_CONNECT_S = 10.0


async def begun(beginning: Coroutine[Any, Any, None]) -> None:
    """Let it connect, to its end even where the caller is cancelled.

    Cancelled amid its first question the driver forgets that connection without closing it.
    """
    task = asyncio.create_task(beginning)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await _settled(task, _CONNECT_S)
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
