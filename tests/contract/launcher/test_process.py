"""What is so of consumers as processes alone."""

from __future__ import annotations

import pytest

from common.job_log import JobLog
from tests.contract.launcher.rig import ECHO, ProcessRig

pytestmark = pytest.mark.anyio


async def test_a_consumer_sees_its_device_alone(log: JobLog) -> None:
    rig = ProcessRig()
    launcher = rig.launcher()
    try:
        started = await launcher.start(ECHO, "1")
        assert await launcher.running() == [started]
        assert started.device == "1"
        assert rig.processes()[started.id].environ()["CUDA_VISIBLE_DEVICES"] == "1"
    finally:
        await launcher.close()


async def test_closing_waits_until_the_last_has_ended(log: JobLog) -> None:
    rig = ProcessRig()
    launcher = rig.launcher()
    for _ in range(2):
        await launcher.start(ECHO)
    await launcher.close()
    assert rig.processes() == {}
