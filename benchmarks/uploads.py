"""CPU of the API process per accepted upload, as a ratio to an endpoint that drops the body.

    python -m benchmarks.uploads

200 kB JPEGs, 16 at once, one API process on Kafka + MinIO + Postgres: stored, row committed and
append acknowledged, against a bare FastAPI `UploadFile`, both under load at the same time.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx2
import psutil

from benchmarks.figures import jpeg
from infra.ports import free_ports
from infra.servers import Servers
from tests.e2e.stack import Stack, eventually, on_servers

CONCURRENCY = 16
BLOCK = 320
BLOCKS = 12

BARE = """
import sys, uvicorn
from fastapi import FastAPI, UploadFile
app = FastAPI()
@app.post("/", status_code=202)
async def drop(image: UploadFile) -> dict[str, bool]:
    return {"ok": True}
uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False)
"""


async def block(ours: httpx2.AsyncClient, bare: httpx2.AsyncClient, image: bytes) -> None:
    """So many uploads to each, so many at once; each must be accepted.

    Each worker posts to one and then to the other, so that both processes share the noise of this
    machine and of the servers beside them.
    """
    left = iter(range(BLOCK))

    async def post() -> None:
        for _ in left:
            for client, path in ((ours, "/v1/predictions"), (bare, "/")):
                reply = await client.post(
                    path, data={"model": "darkroom/echo"}, files={"image": ("a.jpg", image)}
                )
                assert reply.status_code == 202, reply.text

    await asyncio.gather(*(post() for _ in range(CONCURRENCY)))


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def compare(stack: Stack, bare_url: str, bare: psutil.Process) -> list[tuple[float, float]]:
    """Milliseconds of CPU per upload, (ours, bare) a pair of blocks."""
    image = jpeg(200)
    (ours,) = [p for p in stack.members() if p.cmdline()[-2:] == ["api", "serve"]]
    pairs = []
    async with (
        httpx2.AsyncClient(base_url=stack.url, timeout=60, trust_env=False) as our_client,
        httpx2.AsyncClient(base_url=bare_url, timeout=60, trust_env=False) as bare_client,
    ):
        for number in range(BLOCKS + 1):
            before = cpu(ours), cpu(bare)
            await block(our_client, bare_client, image)
            used = cpu(ours) - before[0], cpu(bare) - before[1]
            if number:  # the first warms up
                pairs.append((1e3 * used[0] / BLOCK, 1e3 * used[1] / BLOCK))
                print(f"ours {pairs[-1][0]:.2f} ms   bare {pairs[-1][1]:.2f} ms", flush=True)
    return pairs


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).status_code == 405
    except httpx2.TransportError:
        return False


def main() -> None:
    (port,) = free_ports(1)
    bare_url = f"http://127.0.0.1:{port}"
    bare = subprocess.Popen([sys.executable, "-c", BARE, str(port)])
    try:
        with tempfile.TemporaryDirectory() as name, Servers() as servers:
            settings = servers.settings()
            os.environ.update({k: v for k, v in settings.items() if k.startswith("AWS_")})
            stack = on_servers(Path(name), settings)
            stack.programs = (("api", "serve"),)
            stack.start()
            eventually(lambda: answers(bare_url))
            pairs = asyncio.run(compare(stack, bare_url, psutil.Process(bare.pid)))
            stack.stop()
    finally:
        bare.terminate()
        bare.wait()
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"median: ours {ours:.2f} ms, bare {theirs:.2f} ms, ratio block by block {ratio:.2f}")


if __name__ == "__main__":
    main()
