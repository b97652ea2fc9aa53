"""A disk that is full, and has room again, below the embedded stack."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import PROJECT, eventually
from tests.faults.after_outages import ask, large_picture, refused, unharmed, works_again
from tests.faults.asking import Asking
from tests.faults.looking import consumers, ended, job_of, send, with_models
from tests.faults.stack import FaultStack
from tests.machine import lacking

DISK_MIB = 24
FULL_SECONDS = 12.0
SKETCH = "darkroom/pencil-sketch"
SKETCH_FILE = PROJECT / "consumers" / "custom_infer" / "pencil_sketch.py"
_UNAVAILABLE = ("store_unavailable", "ledger_unavailable")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The data folder of the embedded stack, with a file system of its own."""
    folder = tmp_path / "data"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        lacking(f"a small disk needs `mount`, which says: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.timeout(1200)
def test_a_full_disk_refuses_new_jobs_and_loses_none(small_disk: Path, tmp_path: Path) -> None:
    with FaultStack(tmp_path, None, DARKROOM_SWEEP_AFTER_SECONDS="10") as stack:
        stack.api()
        stack.recorder()
        stack.notifier()
        stack.consumer()
        stack.start()
        with stack.load(Asking(webhook=stack.receiver.url, delay=0.2), rate=6) as load:
            eventually(lambda: load.counts["202"] >= 20)
            fill(small_disk / "filler")
            # The write-ahead logs have some room of their own.
            eventually(lambda: load.counts["503"] >= 3)
            full_until = time.monotonic() + FULL_SECONDS
            while time.monotonic() < full_until:
                fill(small_disk / "filler")
                refused(ask(stack, image=large_picture(300)), *_UNAVAILABLE)
                time.sleep(0.5)
            (small_disk / "filler").unlink()
            works_again(stack, image=large_picture(9))
        assert load.unexpected == []
        unharmed(stack)


@pytest.mark.timeout(600)
def test_a_result_waits_for_room_and_costs_its_job_no_attempt(
    small_disk: Path, tmp_path: Path
) -> None:
    """The disk of the object store alone: log and ledger go on beside it."""
    folder = tmp_path / "stack"
    folder.mkdir()
    with FaultStack(folder, None, DARKROOM_OBJECT_STORE_URL=f"file://{small_disk}") as stack:
        with_models(stack, f"{SKETCH} task=custom path={SKETCH_FILE} makes=image")
        stack.api()
        stack.recorder()
        stack.notifier()
        stack.consumer(model=SKETCH)
        stack.start()
        ended(stack, send(stack, SKETCH, image=large_picture(9))["id"])
        (consumer,) = consumers(stack)
        consumer.suspend()
        jobs = [send(stack, SKETCH, image=large_picture(300))["id"] for _ in range(3)]
        fill(small_disk / "filler")
        consumer.resume()
        eventually(lambda: job_of(stack, jobs[0])["status"] == "processing")
        full_until = time.monotonic() + FULL_SECONDS
        while time.monotonic() < full_until:
            fill(small_disk / "filler")
            states = {job_of(stack, job)["status"] for job in jobs}
            assert states <= {"starting", "processing"}
            time.sleep(0.5)
        (small_disk / "filler").unlink()
        for job in jobs:
            done = ended(stack, job)
            assert (done["status"], done["attempt"]) == ("succeeded", 1)
        unharmed(stack)


def fill(file: Path) -> None:
    """Until there is not a byte left."""
    with file.open("ab", buffering=0) as opened:
        for size in (1024 * 1024, 4096, 1):
            try:
                while True:
                    opened.write(b"\0" * size)
            except OSError:
                continue
