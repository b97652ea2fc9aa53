"""A SQLite file and the one thread that works on it: what waits together shares one commit."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from common.errors import LogUnavailable

_BUSY_SECONDS = 10.0
_LARGEST_BATCH = 512

T = TypeVar("T")


class Commit(IntEnum):
    """What a piece of work needs. A batch gets the most that one of its members needs."""

    NONE = 0  # it only reads
    ORDERED = 1  # a loss of power may undo it
    DURABLE = 2  # synced to the disk before it returns


@dataclass(frozen=True, slots=True)
class _Work:
    do: Callable[[sqlite3.Connection], Any]
    commit: Commit
    done: asyncio.Future[Any]


class SqliteFile:
    """Runs functions of a connection in its own thread; open connections are its own matter.

    After an error the connection is dropped, and the next work opens a new one: so it also gets
    over a full disk, or a file that was removed and made anew.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        self._schema = schema
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[_Work | None] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name=f"sqlite {path.name}", daemon=True)
        self._thread.start()

    def submit(self, do: Callable[[sqlite3.Connection], T], commit: Commit) -> asyncio.Future[T]:
        """Run `do` in a transaction, after all that was submitted before.

        The future's error is LogUnavailable: then nothing of `do` was kept.
        """
        if self._closed:
            raise LogUnavailable(f"{self._path} was closed")
        done: asyncio.Future[T] = self._loop.create_future()
        self._waiting.put(_Work(do, commit, done))
        return done

    async def run(self, do: Callable[[sqlite3.Connection], T], commit: Commit) -> T:
        """As `submit`, and wait for the result. A cancelled caller does not undo the work."""
        return await self.submit(do, commit)

    async def close(self) -> None:
        """Finish what was submitted, and let go of the file."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._next_batch()
            if batch:
                self._loop.call_soon_threadsafe(_settle, batch, self._attempt(batch))
        self._disconnect()

    def _next_batch(self) -> tuple[list[_Work], bool]:
        """All that waits now, at least one; False once the end was reached."""
        batch: list[_Work] = []
        work = self._waiting.get()
        while work is not None:
            batch.append(work)
            if len(batch) == _LARGEST_BATCH:
                return batch, True
            try:
                work = self._waiting.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _attempt(self, batch: list[_Work]) -> list[Any] | Exception:
        try:
            return self._transact(batch)
        except Exception as error:  # noqa: BLE001 - whoever waits for the batch must hear of it
            self._disconnect()
            return error

    def _transact(self, batch: list[_Work]) -> list[Any]:
        connection = self._connect()
        commit = max(work.commit for work in batch)
        if commit is Commit.NONE:
            connection.execute("BEGIN")
        else:
            level = "FULL" if commit is Commit.DURABLE else "NORMAL"
            connection.execute(f"PRAGMA synchronous={level}")
            _insist(connection, "BEGIN IMMEDIATE")
        results = [work.do(connection) for work in batch]
        connection.execute("COMMIT")
        return results

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = connection = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, isolation_level=None
            )
            _insist(connection, "PRAGMA journal_mode=WAL")
            connection.executescript(f"BEGIN IMMEDIATE; {self._schema} COMMIT;")
            connection.execute("PRAGMA busy_timeout=0")
            self._inode = os.stat(self._path).st_ino
        elif os.stat(self._path).st_ino != self._inode:
            raise FileNotFoundError(f"{self._path} was replaced by another file")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _insist(connection: sqlite3.Connection, statement: str) -> None:
    """Execute a statement that may find the file locked, and look again soon while it is.

    SQLite's own wait sleeps up to 100 ms between looks, and does not cover `journal_mode`.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.0001, 0.0003))


def _settle(batch: list[_Work], outcome: list[Any] | Exception) -> None:
    for index, work in enumerate(batch):
        if work.done.done():
            continue
        if isinstance(outcome, list):
            work.done.set_result(outcome[index])
        else:
            work.done.set_exception(_translated(outcome))


def _translated(error: Exception) -> Exception:
    if not isinstance(error, sqlite3.Error | OSError):
        return error
    unavailable = LogUnavailable(f"the job log's file: {error}")
    unavailable.__cause__ = error
    return unavailable
