"""`darkroom monitor` beside the whole of Darkroom: real consumers, real jobs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.stack import embedded
from tests.integration.cli.test_monitor import watching

pytestmark = pytest.mark.anyio


async def test_real_jobs_go_by_from_before_the_server_is_there(tmp_path: Path) -> None:
    stack = embedded(tmp_path)
    async with watching(stack.url, size=(150, 40)) as watched:
        await watched.shows("NO ANSWER since")
        await asyncio.to_thread(stack.start)
        try:
            await watched.shows(" · ready · as of", r"darkroom/echo +off +0 +0 +0 +0")
            with stack.client() as client:
                body = {"model": "darkroom/echo", "input": {"prompt": "a", "delay": 8}}
                made = client.post("/v1/predictions", json=body).json()
            await watched.shows(r"darkroom/echo +1 ready +0 +0 +0 +1", rf"cpu .*{made['id']}")
            await watched.shows(r"darkroom/echo +1 ready +0 +0 +0 +0 +1/min")
        finally:
            await asyncio.to_thread(stack.stop)
        await watched.shows("NO ANSWER since", r"darkroom/echo +1 ready")
