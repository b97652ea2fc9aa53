"""Open event streams: what 1,000 of them cost the API, and how late their events come.

    python -m benchmarks.streams embedded | servers

Each stream watches a job of its own. 100 events a second go to the topic `events`, as consumers
write them; an event has arrived when its stream has read it, after the recorder and the ledger.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import psutil

from benchmarks.figures import show
from common import wire
from common.events import JobEvent, JobProgress, JobStarted
from common.job_log import JobLog, open_job_log
from common.topic import EVENTS
from infra.servers import Servers
from tests.e2e.stack import Stack, embedded, on_servers

STREAMS = 1000
PER_SECOND = 100
ROUNDS = 4  # events of each stream
OPENED_AT_ONCE = 50
DEADLINE = 60.0  # seconds
MIB = 1024 * 1024


class Stream:
    """One job, and when its events were sent and read."""

    def __init__(self, job: str) -> None:
        self.job = job
        self.sent: dict[int, float] = {}  # sequence -> time
        self.read: dict[int, float] = {}
        self._opened = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None  # kept: without it the connection ends
        self._reading: asyncio.Task[None] | None = None

    async def open(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self._writer = writer
        path = f"/v1/predictions/{self.job}/events"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        self._reading = asyncio.create_task(self._read(reader))
        await self._opened.wait()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if line.startswith(b"id: "):
                self._opened.set()
                self.read.setdefault(int(line[4:]), time.perf_counter())

    def close(self) -> None:
        if self._reading is not None and self._writer is not None:
            self._reading.cancel()
            self._writer.close()

    def arrived(self) -> bool:
        return max(self.read) >= max(self.sent)

    def latencies(self) -> list[float]:
        """Of each event that was read, itself or a later one that came in its place."""
        found = []
        for sequence, at in self.sent.items():
            seen = [when for read, when in self.read.items() if read >= sequence]
            if seen:
                found.append(min(seen) - at)
        return found


async def submit(stack: Stack) -> list[str]:
    async with httpx2.AsyncClient(base_url=stack.url, timeout=60, trust_env=False) as client:
        jobs: list[str] = []
        body = {"model": "darkroom/echo", "input": {"prompt": "x"}}
        for _ in range(STREAMS // OPENED_AT_ONCE):
            posts = (client.post("/v1/predictions", json=body) for _ in range(OPENED_AT_ONCE))
            jobs += [reply.json()["id"] for reply in await asyncio.gather(*posts)]
    return jobs


async def say(log: JobLog, stream: Stream, number: int) -> None:
    now = time.time()
    event: JobEvent
    if number == 0:
        event = JobStarted(job=stream.job, token="t", at=now, worker="w")
    else:
        event = JobProgress(job=stream.job, token="t", at=now, fraction=number / ROUNDS)
    stream.sent[number + 1] = time.perf_counter()
    await log.append(EVENTS, stream.job, wire.encode(event), wire.HEADERS)


async def send(log: JobLog, streams: list[Stream]) -> None:
    """So many a second, whatever becomes of them."""
    began, tasks = time.perf_counter(), []
    for count in range(ROUNDS * STREAMS):
        await asyncio.sleep(max(began + count / PER_SECOND - time.perf_counter(), 0))
        number, stream = divmod(count, STREAMS)
        tasks.append(asyncio.create_task(say(log, streams[stream], number)))
    await asyncio.gather(*tasks)


async def measure(stack: Stack) -> None:
    (api,) = [p for p in stack.members() if p.cmdline()[-2:] == ["api", "serve"]]
    streams = [Stream(job) for job in await submit(stack)]
    before = rss(api)
    for start in range(0, STREAMS, OPENED_AT_ONCE):
        await asyncio.gather(*(s.open(stack.port) for s in streams[start : start + OPENED_AT_ONCE]))
    opened = rss(api)
    data = stack.environment["DARKROOM_DATA_DIR"]
    url = stack.environment.get("DARKROOM_JOB_LOG_URL", f"sqlite:///{data}/log.sqlite")
    log = await open_job_log(url)
    await send(log, streams)
    deadline = time.monotonic() + DEADLINE
    for stream in streams:
        while not stream.arrived() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    latencies = [seconds for stream in streams for seconds in stream.latencies()]
    lost = ROUNDS * STREAMS - len(latencies)
    print(f"API: {before:.0f} MiB before, +{opened - before:.0f} MiB with {STREAMS} streams, ")
    print(f"     +{rss(api) - before:.0f} MiB after {ROUNDS * STREAMS} events; {lost} not seen")
    show(f"event to stream, {PER_SECOND}/s", latencies)
    for stream in streams:
        stream.close()
    await log.close()


def rss(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / MIB


def measure_on(stack: Stack) -> None:
    stack.programs = (("api", "serve"), ("api", "record"))
    stack.start()
    try:
        asyncio.run(measure(stack))
    finally:
        stack.stop()


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as name:
        if sys.argv[1] == "embedded":
            measure_on(embedded(Path(name)))
            return
        with Servers() as servers:
            settings = servers.settings()
            os.environ.update({k: v for k, v in settings.items() if k.startswith("AWS_")})
            measure_on(on_servers(Path(name), settings))


if __name__ == "__main__":
    main()
