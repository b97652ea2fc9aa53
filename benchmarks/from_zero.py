"""From a job's append until its consumer is being started, where there was none.

python -m benchmarks.from_zero [process|docker]

The embedded job log, the scaler, and a model whose consumer stops as soon as it is idle. A process
is being started once it is there; a container once the engine has it, and a second figure says when
it runs.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import show
from common.job import JobSpec
from common.job_log import open_job_log
from common.scaling import SCALING_KEY, Rules, ScalingSettings
from common.topic import CONTROL, job_topic
from common.wire import HEADERS, encode
from infra.docker_engine import DockerEngine
from scaler.policy import Policy
from scaler.scaler import ROUND_SECONDS, Scaler
from tests.contract.launcher.rig import ECHO, DockerRig, ProcessRig

ROUNDS = 20


async def measure(rig: ProcessRig | DockerRig, url: str) -> tuple[list[float], list[float]]:
    """Seconds until it is being started, and until it runs."""

    async def made() -> bool:
        return bool(await (rig.containers() if isinstance(rig, DockerRig) else rig.workers()))

    async def runs() -> bool:
        return bool(await rig.workers())

    log = await open_job_log(url, partitions=4)
    await log.append(CONTROL, SCALING_KEY, encode(ScalingSettings(revision=0)), HEADERS)
    scaler = Scaler(
        models=[ECHO],
        rules_of=lambda _, __: Rules(cooldown=0.0),
        log=log,
        launcher=rig.launcher([ECHO]),
        policy=Policy(1),
    )
    stop = asyncio.Event()
    scaling = asyncio.create_task(scaler.run(stop))
    starts: list[float] = []
    running: list[float] = []
    for number in range(ROUNDS):
        while await made():  # noqa: ASYNC110  another process decides
            await asyncio.sleep(0.05)
        await asyncio.sleep(1 + ROUND_SECONDS * random.random())
        spec = JobSpec(model=ECHO)
        await log.append(job_topic(ECHO, spec.priority), f"job-{number}", encode(spec), HEADERS)
        appended = time.perf_counter()
        for reached, found in ((made, starts), (runs, running)):
            while not await reached():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            found.append(time.perf_counter() - appended)
    stop.set()
    await scaling
    await log.close()
    return starts, running


async def run(kind: str, folder: Path) -> None:
    (folder / "model_names.txt").write_text(f"{ECHO} task=echo\n")
    url = f"sqlite:///{folder}/log.sqlite"
    os.environ |= {
        "DARKROOM_MODEL_NAMES": f"{folder}/model_names.txt",
        "DARKROOM_DATA_DIR": str(folder),
        "DARKROOM_JOB_LOG_URL": url,
    }
    if kind == "process":
        starts, _ = await measure(ProcessRig(), url)
        show("append to process", starts)
        return
    with DockerEngine() as engine:
        rig = DockerRig(engine.host, f"from-zero-{os.getpid()}", folder)
        try:
            await rig.make_template()
            starts, running = await measure(rig, url)
        finally:
            await rig.clear()
    show("append to container", starts)
    show("append to its running", running)


def main() -> None:
    kinds = sys.argv[1:] or ["process", "docker"]
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="darkroom-from-zero-") as folder:
            asyncio.run(run(kind, Path(folder)))


if __name__ == "__main__":
    main()
