"""Removes what was kept for long enough, and objects that belong to nobody."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import structlog

from api.database import removing, scaling
from api.database.database import Database
from api.upkeep.removal import Remover
from api.upkeep.rounds import go_round
from common.object_key import INPUTS, OUTPUTS
from common.object_store import ObjectInfo, ObjectStore

MOST_JOBS = 200  # of one batch, and the most objects that are looked at in one step
MOST_BATCHES = 20  # of one round
EVERY_SECONDS = 10.0
DECISION_SECONDS = 30 * 86_400.0  # that what scalers decided is kept
ORPHAN_SECONDS = 86_400.0  # no attempt and no upload is under way for that long

logger = structlog.get_logger(__name__)


class Retention:
    """Goes round and round; of all processes that do, one at a time.

    Jobs and files that are due go in batches. Then a stretch of the object store is looked at;
    the next round goes on behind it, and after the last object at the first again.
    """

    def __init__(self, *, store: ObjectStore, database: Database, result_seconds: float) -> None:
        self._store, self._database = store, database
        self._result_seconds = result_seconds
        self._remover = Remover(store=store, database=database)
        self._objects: AsyncIterator[ObjectInfo] | None = None

    async def run(self) -> None:
        """A round every EVERY_SECONDS, until cancelled."""
        await go_round(self._database, "retention", self._go, every_seconds=EVERY_SECONDS)

    async def _go(self) -> None:
        await self.expire()
        async with self._database.write() as connection:
            await scaling.forget(connection, before=time.time() - DECISION_SECONDS)
        await self.sweep_orphans()

    async def expire(self) -> int:
        """Remove jobs and files that are due; how many. Raises LedgerUnavailable."""
        if not self._result_seconds:
            return 0
        before, count = time.time() - self._result_seconds, 0
        for _ in range(MOST_BATCHES):
            async with self._database.read() as connection:
                due = await removing.expired(connection, before=before, limit=MOST_JOBS)
                old = await removing.expired_files(connection, before=before, limit=MOST_JOBS)
            removed = await self._remover.remove(due) if due else 0
            removed += await self._remover.remove_files(old) if old else 0
            count += removed
            if not removed:
                break
        if count:
            logger.info("expired", removed=count)
        return count

    async def sweep_orphans(self) -> int:
        """Delete what belongs to nobody among the next objects; how many.

        Raises StoreUnavailable, LedgerUnavailable.
        """
        before = time.time() - ORPHAN_SECONDS
        found = await self._next_objects()
        old, count = [each.key for each in found if each.modified_at < before], 0
        for first in range(0, len(old), MOST_JOBS):
            count += await self._remover.delete_unwanted(old[first : first + MOST_JOBS])
        if count:
            logger.info("orphans_deleted", objects=count)
        return count

    async def _next_objects(self) -> list[ObjectInfo]:
        if self._objects is None:
            self._objects = self._all()
        found: list[ObjectInfo] = []
        try:
            async for each in self._objects:
                found.append(each)
                if len(found) == MOST_JOBS * MOST_BATCHES:
                    return found
        except BaseException:
            self._objects = None
            raise
        self._objects = None
        return found

    async def _all(self) -> AsyncIterator[ObjectInfo]:
        for prefix in (INPUTS, OUTPUTS):
            async for each in self._store.list(prefix):
                yield each
