"""How inputs and results are removed: the ledger lets go of them, then their bytes go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import structlog

from api.database import removing
from api.database.database import Database
from common.errors import StoreUnavailable
from common.object_store import ObjectStore

MOST_AT_ONCE = 16  # calls to the object store

logger = structlog.get_logger(__name__)


class Remover:
    """Removes what ended jobs took and made, and files."""

    def __init__(self, *, store: ObjectStore, database: Database) -> None:
        self._store, self._database = store, database
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)

    async def remove(self, ids: Collection[str]) -> int:
        """Remove those of the jobs that have ended; how many were not removed before.

        Bytes that the store does not delete now are orphans. Raises LedgerUnavailable.
        """
        async with self._database.write() as connection:
            removed = await removing.remove(connection, ids, time.time())
        await self.delete_unwanted({key for keys in removed.values() for key in keys})
        return len(removed)

    async def remove_files(self, ids: Collection[str]) -> int:
        """Forget the files; how many there were. Otherwise as `remove`."""
        async with self._database.write() as connection:
            keys = await removing.remove_files(connection, ids)
        await self.delete_unwanted(keys)
        return len(keys)

    async def delete_unwanted(self, keys: Collection[str]) -> int:
        """Delete those that nobody shows, and that none may show yet; how many."""
        if not keys:
            return 0
        async with self._database.read() as connection:
            left = set(keys) - await removing.wanted(connection, keys)
        return sum(await asyncio.gather(*(self._delete(key) for key in left)))

    async def _delete(self, key: str) -> bool:
        async with self._slots:
            try:
                await self._store.delete(key)
            except StoreUnavailable as error:
                logger.warning("object_left", key=key, reason=str(error))
                return False
        return True
