"""From a job's append until its consumer's process is there, where there was none.

python -m benchmarks.from_zero

The embedded job log, the scaler, and a model whose consumer stops as soon as it is idle.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.figures import show
from common.job import JobSpec
from common.job_log import open_job_log
from common.topic import job_topic
from common.wire import HEADERS, encode
from scaler.launchers import ProcessLauncher
from scaler.observation import Rules
from scaler.policy import Policy
from scaler.scaler import ROUND_SECONDS, Scaler

ROUNDS = 20
ECHO = "darkroom/echo"


def consumers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "consumers" in child.cmdline()]


async def measure(folder: Path) -> list[float]:
    (folder / "model_names.txt").write_text(f"{ECHO} task=echo\n")
    url = f"sqlite:///{folder}/log.sqlite"
    os.environ |= {
        "DARKROOM_MODEL_NAMES": f"{folder}/model_names.txt",
        "DARKROOM_DATA_DIR": str(folder),
        "DARKROOM_JOB_LOG_URL": url,
    }
    log = await open_job_log(url, partitions=4)
    scaler = Scaler(
        rules={ECHO: Rules(cooldown=0.0)},
        log=log,
        launcher=ProcessLauncher([ECHO], grace_seconds=5),
        policy=Policy(1),
    )
    stop = asyncio.Event()
    scaling = asyncio.create_task(scaler.run(stop))
    found = []
    for number in range(ROUNDS):
        while consumers():  # noqa: ASYNC110  another process decides
            await asyncio.sleep(0.05)
        await asyncio.sleep(1 + ROUND_SECONDS * random.random())
        spec = JobSpec(model=ECHO)
        await log.append(job_topic(ECHO, spec.priority), f"job-{number}", encode(spec), HEADERS)
        appended = time.perf_counter()
        while not consumers():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        found.append(time.perf_counter() - appended)
    stop.set()
    await scaling
    await log.close()
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="darkroom-from-zero-") as folder:
        show("append to consumer's start", asyncio.run(measure(Path(folder))))


if __name__ == "__main__":
    main()
