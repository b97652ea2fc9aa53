"""A consumer that stands still for a minute and a half, and then goes on as if nothing were."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.events import JobSucceeded
from common.job_log import open_job_log
from common.topic import EVENTS
from common.wire import decode_event
from tests.e2e.stack import eventually
from tests.faults.asking import ECHO
from tests.faults.books import read_books
from tests.faults.conftest import OnBoth
from tests.faults.looking import all_is_well, ended, job_of, send
from tests.faults.stack import FaultStack

STANDS_STILL_SECONDS = 90.0


@pytest.mark.timeout(1200)
def test_the_late_result_of_a_consumer_that_stood_still_changes_nothing(on_both: OnBoth) -> None:
    on_both(stand_still)


def stand_still(stack: FaultStack) -> None:
    stack.api()
    stack.recorder()
    stack.notifier()
    stack.consumer("slow")
    stack.start()
    job = send(stack, ECHO, prompt="once", delay=10)
    eventually(lambda: job_of(stack, job["id"])["status"] == "processing")
    still = stack.supervisor.members("slow")  # its engine too
    for process in still:
        process.suspend()
    since = time.monotonic()
    stack.consumer("other")
    stack.supervisor.start("other")
    shown = ended(stack, job["id"])
    assert (shown["status"], shown["output"], shown["attempt"]) == ("succeeded", "once", 2)
    for number in range(5):
        meanwhile = send(stack, ECHO, prompt=f"meanwhile {number}")
        assert ended(stack, meanwhile["id"])["status"] == "succeeded"
    time.sleep(max(since + STANDS_STILL_SECONDS - time.monotonic(), 0))
    listening = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(asyncio.run, late_success(stack, job["id"], listening))
        assert listening.wait(60)
        for process in still:
            process.resume()
        late.result()
    stack.supervisor.hold("other")
    stack.supervisor.signal("other", signal.SIGTERM)
    back = send(stack, ECHO, prompt="back")  # it has rejoined: there is no other consumer
    assert ended(stack, back["id"])["status"] == "succeeded"
    all_is_well(stack)
    assert job_of(stack, job["id"]) == shown
    assert not [death for death in stack.supervisor.deaths if death.program == "slow"]


async def late_success(stack: FaultStack, job: str, listening: threading.Event) -> None:
    """Returns once an attempt other than the winner has told of its success."""
    winner = (await read_books(stack.database)).jobs[job]["token"]
    data = stack.folder / "data"
    log = await open_job_log(
        stack.environment.get("DARKROOM_JOB_LOG_URL", f"sqlite:///{data}/log.sqlite")
    )
    subscription = await log.subscribe({EVENTS: 1}, group=None)
    listening.set()
    try:
        async with asyncio.timeout(300):
            while True:
                for each in await subscription.receive(500, timeout=5.0):
                    event = decode_event(each.value, each.headers)
                    if not isinstance(event, JobSucceeded) or event.job != job:
                        continue
                    if event.token != winner:
                        return
    finally:
        await subscription.close()
        await log.close()
