"""A scaler that leads, stands still for longer than the log waits for it, and goes on."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import psutil
import pytest

from common.job_log import JobLog
from common.scaling import ScalingDecided
from common.topic import EVENTS
from common.wire import decode_event
from tests.integration.scaler.conftest import ECHO
from tests.integration.scaler.test_lead import Scalers, until
from tests.integration.scaler.test_scaler import burst

pytestmark = pytest.mark.anyio

MOST = 4  # consumers of the model


async def stop(process: psutil.Process, file: Path) -> None:
    """In a moment in which it holds no lock of the embedded log: nobody could write meanwhile."""
    process.suspend()
    while not is_free(file):  # without that log it is a file of no meaning
        process.resume()
        await asyncio.sleep(0.05)
        process.suspend()


def is_free(file: Path) -> bool:
    database = sqlite3.connect(file, timeout=0.5, isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    finally:
        database.close()
    return True


async def decisions(log: JobLog) -> list[ScalingDecided]:
    """All that were told."""
    left = sum((await log.ends([EVENTS]))[EVENTS])
    found = []
    events = await log.subscribe({EVENTS: 1}, group=None)
    while left > 0:
        deliveries = await events.receive(left, 1.0)
        left -= len(deliveries)
        told = [decode_event(one.value, one.headers) for one in deliveries]
        found += [event for event in told if isinstance(event, ScalingDecided)]
    await events.close()
    return found


async def test_when_it_goes_on_it_sees_that_another_leads_and_changes_nothing(
    log: JobLog, tmp_path: Path
) -> None:
    (tmp_path / "model_names.txt").write_text(f"{ECHO} task=echo max={MOST}\n")
    scalers = Scalers()
    first = await scalers.start()
    still = psutil.Process(first.pid)
    try:
        await burst(log, 1)
        await until(lambda: bool(scalers.consumers()[first.pid]))
        await stop(still, tmp_path / "log.sqlite")
        await burst(log, 500)  # for which it would start more, if it still led
        second = await scalers.start()
        await until(lambda: len(scalers.consumers()[second.pid]) == MOST)
        taken_over = scalers.consumers()[second.pid]

        still.resume()
        await until(lambda: not scalers.consumers()[first.pid])  # it has let go of its own

        by_it = [one for one in await decisions(log) if f"-{first.pid}-" in one.scaler]
        assert [(one.before, one.after) for one in by_it] == [(0, 1)]
        assert scalers.consumers()[second.pid] == taken_over
    finally:
        still.resume()
        await scalers.stop()
