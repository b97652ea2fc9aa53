"""Random kills: any process of a stack, consumers and engines of its scaler among them."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter

import psutil

from tests.faults.supervisor import Supervisor

TERM = 0.25  # the part of kills that ask first


class Killing:
    """`look` kills one process every `every` seconds; call it more often than that."""

    def __init__(self, supervisor: Supervisor, every: float) -> None:
        self.kills: Counter[str] = Counter()  # "SIGKILL scaler" -> how many
        self._supervisor, self._every = supervisor, every
        self._next_at = time.monotonic() + every

    def look(self) -> None:
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + self._every
        victims = [
            process
            for name in self._supervisor.programs
            for process in self._supervisor.members(name)
        ]
        if victims:
            self._kill(random.choice(victims))

    def _kill(self, victim: psutil.Process) -> None:
        by = signal.SIGTERM if random.random() < TERM else signal.SIGKILL
        try:
            words = victim.cmdline()
            victim.send_signal(by)
        except psutil.NoSuchProcess:
            return
        self._supervisor.note_hit()
        self.kills[f"{by.name} {_role(words)}"] += 1


def _role(words: list[str]) -> str:
    """`api serve`, `scaler`, `consumers`, `engine`, ..."""
    if "consumers.engine_main" in words:
        return "engine"
    after = words[words.index("-m") + 1 :] if "-m" in words else words
    return " ".join(after[: 2 if after[:1] == ["api"] else 1])
