"""The log's file, held so that no other process has it open: what is in it then stays as it is."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from common.errors import InUse, LogUnavailable
from common.job_log.base import Bounds
from common.job_log.sqlite import leases
from common.job_log.sqlite import topics as tables

_BUSY_SECONDS = 1.0


@asynccontextmanager
async def held(path: Path, topic: str, group: str) -> AsyncIterator[Bounds]:
    """The topic as the group has left it; the file is this process's alone until the end.

    A log that is not there has nothing in it. Raises InUse, LogUnavailable.
    """
    if not await asyncio.to_thread(path.is_file):
        yield Bounds(start=0, committed=0, end=0)
        return
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        yield await asyncio.to_thread(_hold, connection, path, topic, group)
    finally:
        connection.close()


def _hold(connection: sqlite3.Connection, path: Path, topic: str, group: str) -> Bounds:
    try:
        # With a write-ahead log every connection has a lock on the file for as long as it is open.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        for statement in (tables.SCHEMA + leases.SCHEMA).split(";"):
            connection.execute(statement)
        bounds = leases.bounds(connection, topic, group)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise InUse(f"{path} is open in another process") from error
        raise LogUnavailable(f"the job log's file {path}: {error}") from error
    return bounds
