"""Work that goes round and round, in one process at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from api.database.database import Database
from common.errors import Unavailable

logger = structlog.get_logger(__name__)


async def go_round(
    database: Database,
    name: str,
    work: Callable[[], Awaitable[float | None]],
    *,
    every_seconds: float,
) -> None:
    """`work` until cancelled, with `every_seconds` between two rounds, or what one says itself.

    Of all processes that go round under this name one does at a time; the others wait for it to
    stop. What fails in a round is left to the next.
    """
    while True:
        pause = None
        try:
            async with database.alone(name) as mine:
                if mine:
                    pause = await work()
        except Unavailable as error:
            logger.warning("round_given_up", of=name, reason=str(error))
        except Exception:  # the loop's edge: the next round may do better
            logger.exception("round_failed", of=name)
        await asyncio.sleep(every_seconds if pause is None else pause)
