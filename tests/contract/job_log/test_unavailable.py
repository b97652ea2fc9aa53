"""A log that does not answer."""

from __future__ import annotations

import asyncio

import pytest

from common.errors import LogUnavailable
from common.job_log import open_job_log
from tests.contract.job_log.steps import PATIENCE

pytestmark = pytest.mark.anyio


async def test_a_log_that_cannot_be_reached_is_unavailable(unreachable: str) -> None:
    async def use() -> None:
        log = await open_job_log(unreachable)
        try:
            await log.append("jobs.m.normal", "k", b"", {})
        finally:
            await log.close()

    async with asyncio.timeout(PATIENCE):
        with pytest.raises(LogUnavailable) as raised:
            await use()
    assert raised.value.__cause__ is not None
