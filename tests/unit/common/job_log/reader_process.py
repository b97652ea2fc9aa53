"""A reader in a process of its own: holds one message, and acknowledges it when told by a line."""

from __future__ import annotations

import asyncio
import sys

from common.job_log.sqlite.log import SqliteJobLog


async def hold(url: str, lease_seconds: float) -> None:
    log = await SqliteJobLog.open(url, lease_seconds=lease_seconds)
    subscription = await log.subscribe({"jobs.m.normal": 1}, group="g")
    [held] = await subscription.receive(1, timeout=60)
    print("holding", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await subscription.acknowledge(held)
    print("acknowledged", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1], float(sys.argv[2])))
