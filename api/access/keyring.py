"""The keys that requests show, looked up seldom, and noted as used behind their backs."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

import structlog

from api.access.keys import KEY_SECONDS, ApiKey
from api.database import keys
from api.database.database import Database
from common.errors import LedgerUnavailable

NOTE_SECONDS = 10.0  # between two notes of when keys were used last
_MOST = 10_000  # ids that are remembered; whoever guesses ids fills it with misses

_log = structlog.get_logger()


class Keyring:
    """One lookup a key every few seconds, however many requests show it."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._known: OrderedDict[str, tuple[ApiKey | None, float]] = OrderedDict()
        self._looking: dict[str, asyncio.Task[ApiKey | None]] = {}
        self._used: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to note when keys are used."""
        self._task = asyncio.create_task(self._note_for_ever(), name="note keys used")

    async def close(self) -> None:
        """Note what is left, if the database answers."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._note()

    async def find(self, key_id: str) -> ApiKey | None:
        """The key, as it was at most KEY_SECONDS ago. Raises LedgerUnavailable."""
        found = self._known.get(key_id)
        if found is not None and self._clock() < found[1] + KEY_SECONDS:
            return found[0]
        looking = self._looking.get(key_id)
        if looking is None:
            looking = self._looking[key_id] = asyncio.create_task(self._look_up(key_id))
            looking.add_done_callback(lambda task: self._looked_up(key_id, task))
        return await asyncio.shield(looking)

    def used(self, key: ApiKey) -> None:
        """Remember that it was used now."""
        self._used[key.id] = time.time()

    async def _look_up(self, key_id: str) -> ApiKey | None:
        began = self._clock()
        async with self._database.read() as connection:
            key = await keys.get(connection, key_id)
        self._known[key_id] = key, began
        self._known.move_to_end(key_id)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return key

    def _looked_up(self, key_id: str, task: asyncio.Task[ApiKey | None]) -> None:
        del self._looking[key_id]
        if not task.cancelled():
            task.exception()  # whoever waits has it too; they may all have gone

    async def _note_for_ever(self) -> None:
        while True:
            await asyncio.sleep(NOTE_SECONDS)
            try:
                await self._note()
            except Exception:  # noqa: BLE001  the loop's edge
                _log.exception("key_notes_failed")

    async def _note(self) -> None:
        if not self._used:
            return
        noted = dict(self._used)
        try:
            async with self._database.write() as connection:
                await keys.used(connection, noted)
        except LedgerUnavailable as error:
            _log.warning("key_notes_wait", keys=len(noted), error=str(error))
            return
        for key, at in noted.items():
            if self._used[key] == at:
                del self._used[key]


async def say_if_there_is_no_key(database: Database) -> None:
    """In the log, with the command that makes one. Raises LedgerUnavailable."""
    async with database.read() as connection:
        there = await keys.any_there(connection)
    if not there:
        _log.warning("no_api_key", fix="darkroom keys create --scope admin")
