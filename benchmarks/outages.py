"""Outages: how soon the rate is back when a server returns that was gone for a minute.

    python -m benchmarks.outages

Kafka, MinIO and Postgres of its own, a stack on them and a steady load of pictures and texts. One
server after the other is killed under the load and started again a minute later. Printed: how many
jobs ended a second before, and how long after the server answered again the first five seconds
began in which 90 % of that did. In the end the fault suite's checker looks at everything.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from infra.server import Server
from infra.servers import Servers
from tests.conftest import KEYS
from tests.faults.asking import Asking
from tests.faults.books import read_books
from tests.faults.stack import FaultStack

RATE = 8.0  # requests a second
BEFORE_SECONDS, GONE_SECONDS, AFTER_SECONDS = 30.0, 60.0, 75.0
WINDOW = 5.0  # seconds in which a rate is counted
PART = 0.9


def rate(ends: list[float], since: float, seconds: float) -> float:
    """Ends a second in these seconds."""
    return sum(since <= end < since + seconds for end in ends) / seconds


def back_after(ends: list[float], back: float, wanted: float) -> float:
    """Seconds from `back` to the first window with that rate; infinite if there is none."""
    for tenth in range(int(10 * (AFTER_SECONDS - WINDOW))):
        if rate(ends, back + tenth / 10, WINDOW) >= wanted:
            return tenth / 10
    return float("inf")


def outage(server: Server) -> tuple[float, float]:
    """When it went, and when it answered again; seconds since the epoch."""
    time.sleep(BEFORE_SECONDS)
    gone = time.time()
    server.kill()
    time.sleep(GONE_SECONDS)
    server.start()
    back = time.time()
    time.sleep(AFTER_SECONDS)
    return gone, back


def measure(stack: FaultStack, servers: Servers) -> bool:
    """Whether the checker found nothing."""
    stack.start_whole()
    asking = Asking(webhook=stack.receiver.url)
    with stack.load(asking, rate=RATE, clients=8) as load:
        outages = {server.name: outage(server) for server in servers.all}
    stack.quiet()
    ends = asyncio.run(read_books(stack.database)).ends
    for name, (gone, back) in outages.items():
        before = rate(ends, gone - BEFORE_SECONDS + WINDOW, BEFORE_SECONDS - WINDOW)
        print(
            f"{name:<10} {before:.1f} ends/s before, {rate(ends, gone, back - gone):.1f} while "
            f"gone; {PART:.0%} of it {back_after(ends, back, PART * before):.1f} s after its return"
        )
    verdict = stack.check()
    print(verdict, dict(load.counts), *load.unexpected, sep="\n")
    return verdict.sound and not load.unexpected and not verdict.failures()


def main() -> int:
    with tempfile.TemporaryDirectory() as name, Servers() as servers:
        settings = servers.settings()
        os.environ.update({key: settings[key] for key in KEYS})  # where the checker reads them
        with FaultStack(Path(name), settings, DARKROOM_SWEEP_AFTER_SECONDS="10") as stack:
            return 0 if measure(stack, servers) else 1


if __name__ == "__main__":
    sys.exit(main())
