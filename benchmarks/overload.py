"""Overload: how soon ten times the capacity is refused, and what it does to accepted work.

    python -m benchmarks.overload

The embedded stack with auth on and one consumer of 20 jobs/s. One key keeps eight jobs under way;
in every other block a second key sends ten times the capacity beside it, in uploads of 50 kB, and
may have 16 jobs waiting. Printed: accepted jobs a second of both keys with and without that, the
ratio block by block, and how long the refusals took. The client shares the processors, and its own
time is in the figures: it sends one body, encoded once, by the cheapest client there is.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

import aiohttp
import httpx2

from benchmarks.figures import jpeg, percentile, show
from tests.e2e.stack import Stack, embedded

FIELDS = {"model": "darkroom/echo", "delay": "0.05"}  # seconds of the engine
CAPACITY = 20.0  # jobs a second
TIMES = 10
UNDER_WAY = 8  # jobs of the first key
MOST_WAITING = 16  # of one key
SENDERS = 64
BLOCK_SECONDS = 10.0
PAIRS = 5
SETTINGS = {
    "DARKROOM_AUTH": "on",
    "DARKROOM_SLOTS": "1",
    "DARKROOM_KEY_REQUESTS_PER_SECOND": "0",
    "DARKROOM_MAX_WAITING_PER_KEY": str(MOST_WAITING),
}


class Client:
    """Posts the same upload with a key of its own."""

    def __init__(self, stack: Stack, image: bytes) -> None:
        upload = httpx2.Request(
            "POST", stack.url, data=FIELDS, files={"image": ("a.jpg", image, "image/jpeg")}
        )
        self._body = upload.read()
        self._session = aiohttp.ClientSession(
            stack.url,
            headers={
                "Authorization": f"Bearer {stack.key()}",
                "Content-Type": upload.headers["content-type"],
            },
            connector=aiohttp.TCPConnector(limit=SENDERS),
        )

    async def post(self, **headers: str) -> tuple[int, int]:
        """The status, and the seconds of Retry-After."""
        async with self._session.post("/v1/predictions", data=self._body, headers=headers) as reply:
            await reply.read()
            return reply.status, int(reply.headers.get("retry-after", 0))

    async def waiting(self) -> int:
        """Its jobs that have not started."""
        asked = {"status": "starting"}
        async with self._session.get("/v1/predictions", params=asked) as reply:
            return len((await reply.json())["results"])

    async def aclose(self) -> None:
        await self._session.close()


async def work(calm: Client) -> int:
    """Jobs of a block that were accepted and have ended."""
    began, ended = time.monotonic(), 0

    async def one_after_another() -> None:
        nonlocal ended
        while time.monotonic() - began < BLOCK_SECONDS:
            status, _ = await calm.post(Prefer="wait=60")
            assert status == 201
            ended += 1

    await asyncio.gather(*(one_after_another() for _ in range(UNDER_WAY)))
    return ended


async def flood(hasty: Client) -> tuple[int, list[float]]:
    """Over a block: how many were accepted and are done, and the seconds of each refusal."""
    began, accepted = time.monotonic(), 0
    refusals: list[float] = []

    async def send(first: int) -> None:
        nonlocal accepted
        for number in range(first, int(BLOCK_SECONDS * CAPACITY * TIMES), SENDERS):
            await asyncio.sleep(max(began + number / (CAPACITY * TIMES) - time.monotonic(), 0))
            if time.monotonic() - began > BLOCK_SECONDS:
                return
            at = time.perf_counter()
            status, retry_after = await hasty.post()
            if status == 202:
                accepted += 1
                continue
            refusals.append(time.perf_counter() - at)
            assert status in (429, 503)
            assert retry_after > 0

    await asyncio.gather(*(send(first) for first in range(SENDERS)))
    return accepted - await hasty.waiting(), refusals


async def measure(stack: Stack) -> None:
    image = jpeg(50)
    async with aclosing(Client(stack, image)) as calm, aclosing(Client(stack, image)) as hasty:
        await work(calm)  # warms up
        ratios: list[float] = []
        refusals: list[float] = []
        for _ in range(PAIRS):
            alone = await work(calm) / BLOCK_SECONDS
            mine, (theirs, refused) = await asyncio.gather(work(calm), flood(hasty))
            beside = (mine + theirs) / BLOCK_SECONDS
            ratios.append(beside / alone)
            refusals += refused
            print(
                f"alone {alone:.1f}/s   overloaded {beside:.1f}/s and "
                f"{len(refused) / BLOCK_SECONDS:.0f} refusals/s",
                flush=True,
            )
            while await hasty.waiting():  # noqa: ASYNC110  the next block begins as the first
                await asyncio.sleep(0.1)
    show("refusal", refusals)
    within = sum(took <= 0.1 for took in refusals) / len(refusals)
    print(
        f"within 100 ms: {within:.1%}, slowest {1e3 * percentile(refusals, 1):.0f} ms\n"
        f"median ratio of accepted work, block by block: {statistics.median(ratios):.2f}"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        stack = embedded(Path(name), **SETTINGS)
        stack.start()
        try:
            asyncio.run(measure(stack))
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
