"""Input objects that requests of this process are about to refer to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class InputsInUse:
    """Keeps one request's deletion from coming between another's `put` and its commit.

    Equal images of one owner and day share a key. Any number may use it at once; a deletion waits
    for all of them, and whoever comes meanwhile waits for the deletion.
    """

    def __init__(self) -> None:
        self._users: Counter[str] = Counter()
        self._deleted: set[str] = set()
        self._changed = asyncio.Event()  # replaced at every change

    @asynccontextmanager
    async def using(self, key: str) -> AsyncIterator[None]:
        """From before `put` until the row that refers to the key is committed."""
        while key in self._deleted:
            await self._changed.wait()
        self._users[key] += 1
        try:
            yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
            self._tell()

    @asynccontextmanager
    async def alone(self, key: str) -> AsyncIterator[None]:
        """From before the last look at who refers to the key until it is deleted."""
        while key in self._deleted:
            await self._changed.wait()
        self._deleted.add(key)
        try:
            while self._users[key]:
                await self._changed.wait()
            yield
        finally:
            self._deleted.discard(key)
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
