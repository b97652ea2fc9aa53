"""What came of attempts, on its way into the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from api.database import deliveries
from api.database.database import Database
from api.database.deliveries import Outcome
from common.outage import until_available

_MOST_OUTCOMES = 500  # of one transaction

logger = structlog.get_logger(__name__)


class OutcomeWriter:
    """One task commits what arrived while its last commit was under way."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: asyncio.Queue[Outcome] = asyncio.Queue()

    def add(self, outcome: Outcome) -> None:
        """Returns at once."""
        self._waiting.put_nowait(outcome)

    async def written(self) -> None:
        """Wait until all that was added is in the ledger."""
        await self._waiting.join()

    async def run(self) -> None:
        """Write until cancelled. While the database is gone it waits."""
        while True:
            outcomes = [await self._waiting.get()]
            while not self._waiting.empty() and len(outcomes) < _MOST_OUTCOMES:
                outcomes.append(self._waiting.get_nowait())
            try:
                await until_available(self._write, outcomes)
            except Exception:  # the loop's edge: they are sent again when their lease is over
                logger.exception("webhook_outcomes_lost", deliveries=len(outcomes))
            for _ in outcomes:
                self._waiting.task_done()

    async def _write(self, outcomes: Sequence[Outcome]) -> None:
        async with self._database.write() as connection:
            await deliveries.keep(connection, outcomes)
