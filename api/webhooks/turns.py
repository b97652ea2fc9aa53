"""Whose turn it is to be sent, so that what one of many holds leaves the others their room."""

from __future__ import annotations

import asyncio
from collections import Counter


class Turns:
    """Deliveries that were taken, by a name that they have in common: a host, or an owner."""

    def __init__(self, *, sending: int, taken: int) -> None:
        """Of each name `sending` may be sent at once, and it is full with `taken`."""
        self._sending, self._most = sending, taken
        self._taken: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Semaphore] = {}

    def take(self, name: str) -> None:
        """One more waits for its turn."""
        self._taken[name] += 1
        self._turns.setdefault(name, asyncio.Semaphore(self._sending))

    def turn(self, name: str) -> asyncio.Semaphore:
        """To be held while one is sent."""
        return self._turns[name]

    def give_back(self, name: str) -> None:
        """One is not there any more."""
        self._taken[name] -= 1
        if not self._taken[name]:
            del self._taken[name], self._turns[name]

    def full(self) -> list[str]:
        """Names of which no more should be taken now."""
        return [name for name, count in self._taken.items() if count >= self._most]
