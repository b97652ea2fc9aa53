"""The two stacks, as far as the ledger goes: SQLite with SQLite, Postgres with Kafka."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.database.database import Database
from api.recorder import Recorder
from common.job_log import JobLog, open_job_log
from tests.ledger import accepting, database, ledger_url

__all__ = ["accepting", "database", "ledger_url"]


@pytest.fixture
def log_url(request: pytest.FixtureRequest, ledger_url: str, tmp_path: Path) -> str:
    if ledger_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path}/log.sqlite"
    servers: dict[str, str] = request.getfixturevalue("servers")
    return f"{servers['DARKROOM_JOB_LOG_URL']}?prefix={secrets.token_hex(6)}."


@pytest.fixture
async def log(log_url: str) -> AsyncIterator[JobLog]:
    opened = await open_job_log(log_url)
    yield opened
    await opened.close()


@pytest.fixture
async def recording(log: JobLog, database: Database) -> AsyncIterator[None]:
    """A recorder that runs beside the test."""
    task = asyncio.create_task(Recorder(log=log, database=database).run())
    yield
    task.cancel()
    await asyncio.wait([task])
