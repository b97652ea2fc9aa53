"""Bad files: what hostile uploads of a bounded rate cost the others.

    python -m benchmarks.bad_files

The embedded stack with one consumer. A client posts good pictures one after the other and waits
for each answer; in every other block another posts the abuse suite's bad files beside it, so many
a second, and what it is refused or answered does not count. Printed: the good jobs' times with and
without that, and the ratio of their p95s block by block.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2

from benchmarks.figures import percentile, show
from models.shapes.draw import draw
from tests.abuse.bad_files import BadFile, bad_files
from tests.e2e.stack import Stack, embedded

MODEL = "darkroom/palette"
SEED = 20261121
RATE = 5.0  # bad files a second
DISTINCT = 600
PAIRS = 6
GOOD = 200  # jobs of a block


def drawing() -> bytes:
    """A good picture."""
    buffer = io.BytesIO()
    draw(SEED)[0].save(buffer, "PNG")
    return buffer.getvalue()


async def good_jobs(client: httpx2.AsyncClient, image: bytes) -> list[float]:
    """Seconds from each post to its answer."""
    took = []
    for _ in range(GOOD):
        began = time.perf_counter()
        reply = await client.post(
            "/v1/predictions",
            data={"model": MODEL},
            files={"image": ("a.png", image)},
            headers={"Prefer": "wait=60"},
        )
        assert reply.status_code == 201, reply.text
        assert reply.json()["status"] == "succeeded", reply.text
        took.append(time.perf_counter() - began)
    return took


async def post_bad(client: httpx2.AsyncClient, files: Iterator[BadFile]) -> None:
    """Bad files at a steady rate, until canceled."""
    began = time.monotonic()
    for number in itertools.count():
        await asyncio.sleep(max(began + number / RATE - time.monotonic(), 0))
        file = next(files)
        kind = file.content_type or "application/octet-stream"
        reply = await client.post(
            "/v1/predictions",
            data={"model": MODEL},
            files={"image": (file.name, file.content, kind)},
        )
        assert reply.status_code < 500, reply.text


async def none_waiting(client: httpx2.AsyncClient) -> None:
    """The next block begins as the first did."""
    for status in ("starting", "processing"):
        while await listed(client, status):  # noqa: ASYNC110  nothing tells when there is none
            await asyncio.sleep(0.1)


async def listed(client: httpx2.AsyncClient, status: str) -> int:
    """How many jobs of a state a page shows."""
    reply = await client.get("/v1/predictions", params={"status": status})
    return len(reply.json()["results"])


async def measure(stack: Stack) -> None:
    image = drawing()
    files = itertools.cycle(list(bad_files(SEED, DISTINCT)))  # made before anything is timed
    everything: dict[str, list[float]] = {"good alone": [], "good beside bad": []}
    ratios = []
    async with httpx2.AsyncClient(base_url=stack.url, timeout=90, trust_env=False) as client:
        await good_jobs(client, image)  # warms up
        for _ in range(PAIRS):
            alone = await good_jobs(client, image)
            posting = asyncio.create_task(post_bad(client, files))
            beside = await good_jobs(client, image)
            posting.cancel()
            with suppress(asyncio.CancelledError):
                await posting
            await none_waiting(client)
            everything["good alone"] += alone
            everything["good beside bad"] += beside
            ratios.append(percentile(beside, 0.95) / percentile(alone, 0.95))
    for name, took in everything.items():
        show(name, took)
        print(f"{'':28} p95={1e3 * percentile(took, 0.95):7.1f} ms")
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(
        f"{RATE:g} bad files/s; ratio of p95s, block by block: {shown}; "
        f"median {statistics.median(ratios):.2f}"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        stack = embedded(Path(name), DARKROOM_SLOTS="1")
        stack.start()
        try:
            asyncio.run(measure(stack))
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
