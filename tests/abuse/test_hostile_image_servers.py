"""Images from servers that behave as badly as they can."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from common.errors import BadInput
from common.guarded_client import GuardedClient
from common.job import JobSpec
from common.object_store import open_object_store
from common.url_guard import UrlGuard
from consumers.fetching import TRIES, Fetching
from tests.abuse.hostile_servers import (
    BROKEN,
    HELD,
    Answer,
    a_bomb,
    a_byte_a_second_of_its_body,
    a_chunk_of_terabytes,
    a_redirect_to_itself,
    an_endless_body,
    endless_chunks,
    less_than_it_said,
)
from tests.abuse.test_hostile_receivers import hostile, memory_watched

pytestmark = pytest.mark.anyio

__all__ = ["hostile"]

TRY_SECONDS, PAUSE_SECONDS = 8.0, 0.1
MOST_SECONDS = TRIES * TRY_SECONDS + 2 * 3 * PAUSE_SECONDS
SLACK_SECONDS = 20.0  # of a busy machine
CODES: dict[Answer, str] = {
    **dict.fromkeys((*HELD, *BROKEN), "image_url_unreachable"),
    a_byte_a_second_of_its_body: "image_url_unreachable",
    less_than_it_said: "image_url_unreachable",
    an_endless_body: "file_too_large",
    endless_chunks: "file_too_large",
    a_chunk_of_terabytes: "file_too_large",
    a_redirect_to_itself: "image_url_refused",
    a_bomb: "image_url_failed",
}


async def test_each_fails_its_job_within_three_tries_and_bounded_memory(
    tmp_path: Path, hostile: dict[str, str]
) -> None:
    store = await open_object_store(f"file://{tmp_path}")
    client = GuardedClient(UrlGuard("127.0.0.0/8"))
    fetching = Fetching(
        store,
        client,
        most_bytes=100_000,
        try_seconds=TRY_SECONDS,
        pause_seconds=PAUSE_SECONDS,
    )

    async def code(url: str) -> tuple[str, float]:
        """What the job fails with, and after how many seconds."""
        began = time.monotonic()
        with pytest.raises(BadInput) as failed:
            await fetching.fetch(JobSpec(model="a/b", inputs={"image": url}))
        return failed.value.code, time.monotonic() - began

    async with memory_watched():
        ends = await asyncio.gather(*map(code, hostile))
    told = dict(zip(hostile.values(), ends, strict=True))
    await client.close()

    assert {name: said for name, (said, _) in told.items()} == {
        answer.__name__: said for answer, said in CODES.items()
    }
    assert max(seconds for _, seconds in told.values()) < MOST_SECONDS + SLACK_SECONDS
