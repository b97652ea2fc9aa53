"""What it costs the scaler to watch 200 models on Kafka: 600 topics, 2,400 partitions.

python -m benchmarks.watching

Looks each half second, first while nothing waits anywhere, then while ten of the models have work.
"""

from __future__ import annotations

import asyncio
import time

from common.job import Priority
from common.job_log import open_job_log
from common.topic import job_topic
from infra.servers import Servers
from scaler.queues import Queues
from scaler.scaler import ROUND_SECONDS

MODELS = [f"owner/model-{number}" for number in range(200)]
BUSY = MODELS[:10]
SECONDS = 130.0  # beyond two of `ANEW_SECONDS`


async def share(queues: Queues, busy: int) -> float:
    """Of one core, over SECONDS."""
    used, began = time.process_time(), time.monotonic()
    while (now := time.monotonic()) < began + SECONDS:
        found = await queues.look(now)
        assert sum(bool(queue.lag and queue.lag.jobs) for queue in found.values()) == busy
        await asyncio.sleep(ROUND_SECONDS)
    return (time.process_time() - used) / (time.monotonic() - began)


async def measure(url: str) -> None:
    log = await open_job_log(url, partitions=4)
    queues = Queues(log, MODELS)
    ends = await log.ends([job_topic(model, priority) for model in MODELS for priority in Priority])
    partitions = sum(len(each) for each in ends.values())
    await queues.look(time.monotonic())
    print(f"{len(MODELS)} models, {partitions} partitions", flush=True)
    print(f"idle: {100 * await share(queues, 0):.1f} % of one core", flush=True)
    for model in BUSY:
        await log.append(job_topic(model, Priority.NORMAL), "job", b"", {})
    print(f"ten with work: {100 * await share(queues, len(BUSY)):.1f} % of one core", flush=True)
    await log.close()


def main() -> None:
    with Servers() as servers:
        asyncio.run(measure(servers.settings()["DARKROOM_JOB_LOG_URL"]))


if __name__ == "__main__":
    main()
