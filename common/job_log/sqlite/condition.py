"""The log's file as it lies there, opened without making it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection
from contextlib import closing

from common.errors import LogUnavailable
from common.job_log.sqlite.log import path_of

_BUSY_SECONDS = 5.0


async def sqlite_condition(url: str, topics: Collection[str]) -> tuple[str, dict[str, int]]:
    """What it is, and the partitions of those topics that are there. Raises LogUnavailable."""
    return await asyncio.to_thread(_look, url, topics)


def _look(url: str, topics: Collection[str]) -> tuple[str, dict[str, int]]:
    path = path_of(url)
    if not path.is_file():
        raise LogUnavailable(f"there is no file {path}")
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as connection:
            found = {name for (name,) in connection.execute("SELECT name FROM topics")}
    except sqlite3.Error as error:
        raise LogUnavailable(f"{path}: {error}") from error
    return f"SQLite {sqlite3.sqlite_version}", {topic: 1 for topic in topics if topic in found}
