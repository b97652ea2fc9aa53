"""How inputs and results are removed: the ledger lets go of them, then their bytes go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from datetime import UTC, datetime

import structlog

from api.database import removing
from api.database.database import Database
from api.database.removing import Removed
from api.upkeep.inputs_in_use import InputsInUse
from common.errors import StoreUnavailable
from common.object_store import ObjectStore

MOST_AT_ONCE = 16  # calls to the object store
_SETTLED_SECONDS = 3600.0  # after midnight: an upload that began yesterday has ended

logger = structlog.get_logger(__name__)


class Remover:
    """Removes what ended jobs took and made.

    `inputs_in_use` is that of the process which accepts jobs. Without it inputs of this very day,
    which a new job may be about to share, are left to the sweep of orphans.
    """

    def __init__(
        self, *, store: ObjectStore, database: Database, inputs_in_use: InputsInUse | None = None
    ) -> None:
        self._store, self._database, self._in_use = store, database, inputs_in_use
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)

    async def remove(self, ids: Collection[str]) -> int:
        """Remove those of the jobs that have ended; how many were not removed before.

        Bytes that the store does not delete now are orphans. Raises LedgerUnavailable.
        """
        async with self._database.write() as connection:
            removed = await removing.remove(connection, ids, time.time())
        if not removed:
            return 0
        inputs = {key for job in removed for key in job.inputs}
        outputs = await self._unshared_outputs(removed)
        await asyncio.gather(*(self._delete(key) for key in outputs))
        if self._in_use is not None:
            await asyncio.gather(*(self._delete_input(key, self._in_use) for key in inputs))
        else:
            await self.delete_old_inputs({key for key in inputs if is_settled(key)})
        return len(removed)

    async def delete_old_inputs(self, keys: Collection[str]) -> int:
        """Delete those to which nobody refers. Their day is over: nobody will anew."""
        async with self._database.read() as connection:
            wanted = await removing.referred_inputs(connection, keys)
        left = set(keys) - wanted
        return sum(await asyncio.gather(*(self._delete(key) for key in left)))

    async def delete_outputs(self, keys: Collection[str]) -> int:
        """Delete those that no job shows, and that none may show yet."""
        async with self._database.read() as connection:
            wanted = await removing.wanted_outputs(connection, keys)
        left = set(keys) - wanted
        return sum(await asyncio.gather(*(self._delete(key) for key in left)))

    async def _unshared_outputs(self, removed: Collection[Removed]) -> set[str]:
        keys: set[str] = set()
        async with self._database.read() as connection:
            for job in removed:
                if job.reusable is None or not await removing.is_reused(connection, job.reusable):
                    keys.update(job.outputs)
        return keys

    async def _delete_input(self, key: str, in_use: InputsInUse) -> None:
        async with in_use.alone(key):
            async with self._database.read() as connection:
                wanted = await removing.referred_inputs(connection, [key])
            if not wanted:
                await self._delete(key)

    async def _delete(self, key: str) -> bool:
        async with self._slots:
            try:
                await self._store.delete(key)
            except StoreUnavailable as error:
                logger.warning("object_left", key=key, reason=str(error))
                return False
        return True


def is_settled(key: str) -> bool:
    """Whether the day of an input's key is over, so that no job will refer to it anew."""
    today = datetime.fromtimestamp(time.time() - _SETTLED_SECONDS, UTC).strftime("%Y-%m-%d")
    parts = key.split("/")
    return len(parts) > 2 and parts[-2] < today
