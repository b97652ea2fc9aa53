"""The logs under test: one contract, every adapter."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.job_log import JobLog, open_job_log
from tests.contract.job_log.steps import OpenLog


@pytest.fixture(params=["sqlite", "kafka"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A log of its own for each test."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/log.sqlite"
    address = request.getfixturevalue("servers")["DARKROOM_JOB_LOG_URL"]
    return f"{address}{'&' if '?' in address else '?'}prefix=t{secrets.token_hex(4)}."


@pytest.fixture
async def open_log(url: str) -> AsyncIterator[OpenLog]:
    """Opens the log once more, as another process would, and closes all at the end."""
    opened: list[JobLog] = []

    async def open_another() -> JobLog:
        opened.append(await open_job_log(url))
        return opened[-1]

    yield open_another
    for log in opened:
        await log.close()


@pytest.fixture
async def log(open_log: OpenLog) -> JobLog:
    return await open_log()


@pytest.fixture(params=["sqlite", "kafka"])
def unreachable(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a log that nobody can reach."""
    if request.param == "sqlite":
        (tmp_path / "file").touch()
        return f"sqlite:///{tmp_path}/file/log.sqlite"
    return "kafka://127.0.0.1:1"
