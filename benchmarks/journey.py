"""From POST to result in one call (Prefer: wait), on a warm consumer of darkroom/echo.

python -m benchmarks.journey embedded     # milliseconds alone
python -m benchmarks.journey servers      # against the bare chain, both in turn
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx2

from benchmarks.bare_chain import BareChain
from benchmarks.figures import jpeg, percentile, show
from infra.servers import Servers
from tests.e2e.stack import embedded, on_servers

WARM_UP = 50
COUNT = 500
CATALOGUE = "darkroom/echo task=echo min=1\n"


async def once(client: httpx2.AsyncClient, image: bytes | None) -> float:
    """Seconds of one call that brought its result."""
    began = time.perf_counter()
    wait = {"Prefer": "wait=30"}
    if image is None:
        body = {"model": "darkroom/echo", "input": {"prompt": "hello"}}
        reply = await client.post("/v1/predictions", json=body, headers=wait)
    else:
        reply = await client.post(
            "/v1/predictions",
            data={"model": "darkroom/echo"},
            files={"image": image},
            headers=wait,
        )
    seconds = time.perf_counter() - began
    assert reply.status_code == 201, reply.text
    return seconds


async def on_embedded(folder: Path, catalogue: str) -> None:
    stack = embedded(folder, DARKROOM_MODEL_NAMES=catalogue)
    stack.start()
    try:
        async with httpx2.AsyncClient(base_url=stack.url, timeout=60, trust_env=False) as client:
            for _ in range(WARM_UP):
                await once(client, None)
            show("embedded, POST to result", [await once(client, None) for _ in range(COUNT)])
    finally:
        stack.stop()


async def against_bare_chain(folder: Path, catalogue: str) -> None:
    image = jpeg(200)
    with Servers() as servers:
        settings = servers.settings()
        os.environ.update({k: v for k, v in settings.items() if k.startswith("AWS_")})
        stack = await asyncio.to_thread(
            on_servers, folder, settings, DARKROOM_MODEL_NAMES=catalogue
        )
        stack.start()
        try:
            async with (
                httpx2.AsyncClient(base_url=stack.url, timeout=60, trust_env=False) as client,
                BareChain(settings) as bare,
            ):
                ours, theirs = [], []
                for number in range(WARM_UP + COUNT):
                    pair = await once(client, image), await bare.once(image)
                    if number >= WARM_UP:
                        ours.append(pair[0])
                        theirs.append(pair[1])
        finally:
            stack.stop()
    show("Kafka + MinIO + Postgres", ours)
    show("bare chain", theirs)
    print(
        f"ratio p50 {statistics.median(ours) / statistics.median(theirs):.2f}   "
        f"ratio p99 {percentile(ours, 0.99) / percentile(theirs, 0.99):.2f}"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalogue = folder / "model_names.txt"
        catalogue.write_text(CATALOGUE)
        run = {"embedded": on_embedded, "servers": against_bare_chain}[sys.argv[1]]
        asyncio.run(run(folder, str(catalogue)))


if __name__ == "__main__":
    main()
