"""From POST to result in one call (Prefer: wait), on a warm consumer of darkroom/echo.

python -m benchmarks.journey embedded     # milliseconds alone
python -m benchmarks.journey servers      # against the bare chain, both in turn
"""

from __future__ import annotations

import asyncio
import http.client
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.bare_chain import BareChain
from benchmarks.figures import jpeg, percentile, show
from infra.servers import Servers
from tests.e2e.stack import Stack, embedded, on_servers

WARM_UP = 50
COUNT = 500
CATALOGUE = "darkroom/echo task=echo min=1\n"


class Caller:
    """Posts the same request again and again on one connection, as cheaply as can be."""

    def __init__(self, stack: Stack, image: bytes | None) -> None:
        content: dict[str, Any] = {"json": {"model": "darkroom/echo", "input": {"prompt": "hello"}}}
        if image is not None:
            content = {"data": {"model": "darkroom/echo"}, "files": {"image": image}}
        request = httpx2.Request("POST", stack.url, headers={"Prefer": "wait=30"}, **content)
        self._body, self._headers = request.read(), dict(request.headers)
        self._connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=60)

    def once(self) -> float:
        """Seconds of one call that brought its result."""
        began = time.perf_counter()
        self._connection.request("POST", "/v1/predictions", self._body, self._headers)
        reply = self._connection.getresponse()
        body = reply.read()
        seconds = time.perf_counter() - began
        assert reply.status == 201, body
        return seconds


def on_embedded(folder: Path, catalogue: str) -> None:
    stack = embedded(folder, DARKROOM_MODEL_NAMES=catalogue)
    stack.start()
    try:
        caller = Caller(stack, None)
        for _ in range(WARM_UP):
            caller.once()
        show("embedded, POST to result", [caller.once() for _ in range(COUNT)])
    finally:
        stack.stop()


def against_bare_chain(folder: Path, catalogue: str) -> None:
    with Servers() as servers:
        settings = servers.settings()
        os.environ.update({k: v for k, v in settings.items() if k.startswith("AWS_")})
        stack = on_servers(folder, settings, DARKROOM_MODEL_NAMES=catalogue)
        stack.start()
        try:
            ours, theirs = asyncio.run(in_turn(stack, settings, jpeg(200)))
        finally:
            stack.stop()
    show("Kafka + MinIO + Postgres", ours)
    show("bare chain", theirs)
    print(
        f"ratio p50 {statistics.median(ours) / statistics.median(theirs):.2f}   "
        f"ratio p99 {percentile(ours, 0.99) / percentile(theirs, 0.99):.2f}"
    )


async def in_turn(
    stack: Stack, settings: dict[str, str], image: bytes
) -> tuple[list[float], list[float]]:
    """Seconds of ours and of the bare chain, one of each at a time."""
    ours, theirs = [], []
    caller = Caller(stack, image)
    async with BareChain(settings) as bare:
        for number in range(WARM_UP + COUNT):
            pair = await asyncio.to_thread(caller.once), await bare.once(image)
            if number >= WARM_UP:
                ours.append(pair[0])
                theirs.append(pair[1])
    return ours, theirs


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalogue = folder / "model_names.txt"
        catalogue.write_text(CATALOGUE)
        run = {"embedded": on_embedded, "servers": against_bare_chain}[sys.argv[1]]
        run(folder, str(catalogue))


if __name__ == "__main__":
    main()
