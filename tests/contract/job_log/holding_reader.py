"""A reader in a process of its own: takes messages, says how many it holds, and never ends."""

from __future__ import annotations

import asyncio
import sys

from common.job_log import open_job_log


async def hold(url: str, topic: str, group: str, count: int) -> None:
    log = await open_job_log(url)
    subscription = await log.subscribe({topic: 1}, group=group)
    held = 0
    while held < count:
        held += len(await subscription.receive(count - held, timeout=1))
    print(f"holding {held}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
