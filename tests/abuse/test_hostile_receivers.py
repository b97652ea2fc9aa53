"""Webhooks to receivers that behave as badly as they can, all at once, beside a good one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from api.database.accepting import Accepting
from api.database.database import Database
from api.webhooks.posting import ATTEMPT_SECONDS, REPLY_BYTES
from common.job_log import JobLog
from tests.abuse.hostile_servers import ANSWERED, BROKEN, HELD, serving
from tests.integration.ledger.conftest import log, log_url
from tests.integration.ledger.test_notifier import ended
from tests.ledger import accepting, database, until
from tests.webhooks import Receiver, attempts, deliveries, notifying

pytestmark = pytest.mark.anyio

__all__ = ["accepting", "database", "log", "log_url"]

MIB = 1024 * 1024
EACH = 3  # webhooks for each receiver
MOST_GROWTH = 100 * MIB


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/ledger.sqlite"


@pytest.fixture(scope="module")
def hostile() -> Iterator[dict[str, str]]:
    """The names of the servers by their URLs."""
    with serving() as urls:
        yield urls


@asynccontextmanager
async def memory_watched() -> AsyncIterator[None]:
    """Fails where this process grows by more than MOST_GROWTH meanwhile."""
    process, most = psutil.Process(), 0
    before = process.memory_info().rss

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    yield
    watching.cancel()
    assert most - before < MOST_GROWTH


async def test_each_is_recorded_in_its_time_and_delays_no_other(
    database: Database, log: JobLog, accepting: Accepting, hostile: dict[str, str]
) -> None:
    async with Receiver() as good:
        for url in hostile:
            for _ in range(EACH):
                await ended(database, accepting, url, owner="mallory")
        for _ in range(EACH):
            await ended(database, accepting, f"{good.url}/good")
        began = time.monotonic()
        async with memory_watched(), notifying(database, log):
            await good.of("/good", EACH)
            waited = time.monotonic() - began
            await until(lambda: _all_attempted(database), 4 * ATTEMPT_SECONDS)
        kept = await _first_attempts(database)
    assert waited < ATTEMPT_SECONDS
    for url, name in hostile.items():
        for attempt in kept[url]:
            assert attempt["seconds"] < ATTEMPT_SECONDS + 5, name
            assert len(attempt["reply"].encode()) <= 3 * REPLY_BYTES, name  # U+FFFD has 3
    codes = {name: {each["code"] for each in kept[url]} for url, name in hostile.items()}
    assert {answer.__name__: codes[answer.__name__] for answer in (*HELD, *BROKEN)} == {
        answer.__name__: {None} for answer in (*HELD, *BROKEN)
    }
    assert {code for answer in ANSWERED for code in codes[answer.__name__]} <= {200, 307}
    for url, name in hostile.items():
        held = name in {answer.__name__ for answer in HELD}
        assert all(("in time" in each["reply"]) == held for each in kept[url]), name


async def _all_attempted(database: Database) -> bool:
    return all(row["attempts"] for row in await deliveries(database))


async def _first_attempts(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Of each delivery, by the URL it goes to."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in await deliveries(database):
        [first, *_] = await attempts(database, row["id"])
        found.setdefault(row["url"], []).append(first)
    return found
