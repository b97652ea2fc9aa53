"""Overload: how soon ten times the capacity is refused, and what it does to accepted work.

    python -m benchmarks.overload

The embedded stack with auth on and one consumer of 20 jobs/s. One key keeps eight jobs under way;
in every other block a second key sends ten times the capacity beside it, in uploads of 50 kB, and
may have 16 jobs waiting. Printed: accepted jobs a second of both keys with and without that, the
ratio block by block, and how long the refusals took.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def client(stack: Stack) -> httpx2.AsyncClient:
    """With a key of its own."""
    made = subprocess.run(
        [sys.executable, "-m", "cli", "keys", "create", "--json"],
        cwd=stack.folder,
        env=stack.environment,
        capture_output=True,
        check=True,
    )
    key = json.loads(made.stdout)["key"]
    return httpx2.AsyncClient(
        base_url=stack.url,
        headers={"Authorization": f"Bearer {key}"},
        timeout=90,
        trust_env=False,
        limits=httpx2.Limits(max_connections=SENDERS),
    )


async def work(calm: httpx2.AsyncClient, image: bytes) -> int:
    """Jobs of a block that were accepted and have ended."""
    began, ended = time.monotonic(), 0

    async def one_after_another() -> None:
        nonlocal ended
        while time.monotonic() - began < BLOCK_SECONDS:
            reply = await calm.post(
                "/v1/predictions",
                data=FIELDS,
                files={"image": ("a.jpg", image)},
                headers={"Prefer": "wait=60"},
            )
            assert reply.status_code == 201, reply.text
            ended += 1

    await asyncio.gather(*(one_after_another() for _ in range(UNDER_WAY)))
    return ended


async def flood(hasty: httpx2.AsyncClient, image: bytes) -> tuple[int, list[float]]:
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
            reply = await hasty.post(
                "/v1/predictions", data=FIELDS, files={"image": ("a.jpg", image)}
            )
            if reply.status_code == 202:
                accepted += 1
                continue
            refusals.append(time.perf_counter() - at)
            assert reply.status_code in (429, 503), reply.text
            assert int(reply.headers["retry-after"]) > 0

    await asyncio.gather(*(send(first) for first in range(SENDERS)))
    return accepted - await waiting(hasty), refusals


async def measure(stack: Stack) -> None:
    image = jpeg(50)
    async with client(stack) as calm, client(stack) as hasty:
        await work(calm, image)  # warms up
        ratios: list[float] = []
        refusals: list[float] = []
        for _ in range(PAIRS):
            alone = await work(calm, image) / BLOCK_SECONDS
            mine, (theirs, refused) = await asyncio.gather(work(calm, image), flood(hasty, image))
            beside = (mine + theirs) / BLOCK_SECONDS
            ratios.append(beside / alone)
            refusals += refused
            print(
                f"alone {alone:.1f}/s   overloaded {beside:.1f}/s and "
                f"{len(refused) / BLOCK_SECONDS:.0f} refusals/s",
                flush=True,
            )
            while await waiting(hasty):  # noqa: ASYNC110  the next block begins as the first
                await asyncio.sleep(0.1)
    show("refusal", refusals)
    within = sum(took <= 0.1 for took in refusals) / len(refusals)
    print(
        f"within 100 ms: {within:.1%}, slowest {1e3 * percentile(refusals, 1):.0f} ms\n"
        f"median ratio of accepted work, block by block: {statistics.median(ratios):.2f}"
    )


async def waiting(hasty: httpx2.AsyncClient) -> int:
    """Its jobs that have not started."""
    reply = await hasty.get("/v1/predictions", params={"status": "starting"})
    return len(reply.json()["results"])


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
