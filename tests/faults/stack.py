"""Darkroom under attack: supervised processes, a journal, a receiver, and the check at the end."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from infra.ports import free_ports
from tests.e2e.stack import PLAIN, Stack, embedded, eventually, on_servers
from tests.faults.asking import ECHO, Asking
from tests.faults.books import left_over, read_books
from tests.faults.checker import Verdict, check
from tests.faults.journal import Journal
from tests.faults.load import Load
from tests.faults.receiver import Letter, Receiver, takes_it
from tests.faults.supervisor import Program, Supervisor

QUIET_SECONDS = 300.0  # after the faults, by when all has ended and was told
CrashAt = str | Callable[[int], str]


class FaultStack:
    """A context manager: add programs, `start`, put load on it, break things, `quiet`, `check`.

    `servers` as of the fixture of that name; None: the embedded stack, its processes apart.
    """

    def __init__(
        self,
        folder: Path,
        servers: Mapping[str, str] | None,
        *,
        answer: Callable[[Letter], int] = takes_it,
        **settings: str,
    ) -> None:
        base: Stack = (
            embedded(folder, **settings)
            if servers is None
            else on_servers(folder, servers, **settings)
        )
        self.folder = folder
        self.environment = base.environment
        self.supervisor = Supervisor(folder, base.environment)
        self.journal = Journal(folder / "journal.jsonl")
        self.receiver = Receiver(folder / "letters.jsonl", answer=answer)
        self.urls: list[str] = []
        data = folder / "data"
        self.database = base.environment.get(
            "DARKROOM_DATABASE_URL", f"sqlite+aiosqlite:///{data}/ledger.sqlite"
        )
        self.store = base.environment.get("DARKROOM_OBJECT_STORE_URL", f"file://{data}/objects")
        data.mkdir(exist_ok=True)
        self._open = ExitStack()

    def __enter__(self) -> FaultStack:
        self._open.callback(self.journal.close)
        self._open.enter_context(self.receiver)
        self._open.enter_context(self.supervisor)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.close()

    def api(self, name: str = "api", crash_at: CrashAt = "", **settings: str) -> Program:
        """An API process on a port of its own, one more of `urls`."""
        (port,) = free_ports(1)
        self.urls.append(f"http://127.0.0.1:{port}")
        settings["DARKROOM_PORT"] = str(port)
        return self.supervisor.add(name, "api", "serve", crash_at=crash_at, **settings)

    def recorder(self, name: str = "recorder", crash_at: CrashAt = "", **settings: str) -> Program:
        """With its sweeper."""
        return self.supervisor.add(name, "api", "record", crash_at=crash_at, **settings)

    def notifier(self, name: str = "notifier", crash_at: CrashAt = "", **settings: str) -> Program:
        return self.supervisor.add(name, "api", "notify", crash_at=crash_at, **settings)

    def consumer(
        self, name: str = "consumer", crash_at: CrashAt = "", model: str = ECHO, **settings: str
    ) -> Program:
        """Started by the supervisor at once, where a scaler would wait before it tries again."""
        return self.supervisor.add(name, "consumers", model, crash_at=crash_at, **settings)

    def scaler(self, name: str = "scaler", **settings: str) -> Program:
        return self.supervisor.add(name, "scaler", **settings)

    def start(self, *names: str) -> None:
        """These programs, or all that were added, with the APIs among them.

        Returns when every API is ready, and the receiver knows the secret that signs.
        """
        self.supervisor.start(*names)
        for url in self.urls:
            eventually(lambda url=url: is_ready(url))  # type: ignore[misc]
        secret = httpx2.get(
            f"{self.urls[0]}/v1/webhooks/default/secret", timeout=60, trust_env=False
        )
        self.receiver.secrets = [secret.raise_for_status().json()["key"]]

    def start_whole(self) -> None:
        """One of each process, and two consumers of the echo."""
        self.api()
        self.recorder()
        self.notifier()
        self.consumer("one")
        self.consumer("two")
        self.start()

    def load(self, asking: Asking | None = None, **how: Any) -> Load:
        """Not started yet: it is a context manager. `how` as of `Load`."""
        asking = asking or Asking(webhook=self.receiver.url)
        return Load(self.urls, self.journal, asking, **how)

    def quiet(self, seconds: float = QUIET_SECONDS) -> float:
        """Wait until every job has ended and every webhook was told, at most for `seconds`.

        Returns how long that took. What is left then, the check names.
        """
        began = time.monotonic()
        while (past := time.monotonic() - began) < seconds:
            try:
                if asyncio.run(left_over(self.database)) == (0, 0):
                    break
            except (OSError, asyncpg.PostgresError, sqlite3.OperationalError):
                pass  # it was stopped, and is not back yet
            time.sleep(0.3)
        return past

    def check(self) -> Verdict:
        """Of all that happened since the start."""
        verdict = check(
            journal=self.journal.path,
            database=self.database,
            store=self.store,
            letters=self.receiver.path,
        )
        return asyncio.run(verdict)

    def longest_recovery(self) -> float:
        """Seconds from a crash to the next end of any job, the longest of all crashes.

        Crashes after the last end count for nothing: there was no work left to recover for.
        """
        ends = asyncio.run(read_books(self.database)).ends
        waits, index = [0.0], 0
        for hit in sorted(self.supervisor.hit_at):
            while index < len(ends) and ends[index] < hit:
                index += 1
            if index < len(ends):
                waits.append(ends[index] - hit)
        return max(waits)


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=60, **PLAIN).status_code == 200
    except httpx2.TransportError:
        return False
