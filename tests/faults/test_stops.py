"""What is told to stop, or whose scaler is killed, under load; and models that come and go."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.stack import eventually
from tests.faults.asking import ECHO, Asking
from tests.faults.conftest import OnBoth
from tests.faults.looking import all_is_well, all_jobs, attempts, consumers, ended, send
from tests.faults.stack import FaultStack, is_ready

SCALER = "scaler"
CYCLES = 3


@pytest.mark.timeout(1200)
def test_a_stop_of_anything_and_a_killed_scaler_run_no_job_twice(on_both: OnBoth) -> None:
    on_both(stop_everything, DARKROOM_COOLDOWN_SECONDS="2")


def stop_everything(stack: FaultStack) -> None:
    stack.api()
    stack.recorder()
    stack.notifier()
    stack.scaler(SCALER)
    stack.start()
    works(stack)
    asking = Asking(webhook=stack.receiver.url, delay=0.1)
    with stack.load(asking, rate=2, clients=2) as load:
        for name in ("api", "recorder", "notifier", SCALER):
            stopped(stack, name, signal.SIGTERM)
        [consumer] = eventually(lambda: consumers(stack))
        consumer.terminate()
        eventually(lambda: not consumer.is_running())
        works(stack)
        stopped(stack, SCALER, signal.SIGKILL)
    all_is_well(stack)
    assert not load.unexpected
    assert attempts(all_jobs(stack)) == {1}
    codes = [death.code for death in stack.supervisor.deaths]
    assert codes == [0, 0, 0, 0, -signal.SIGKILL]  # a stop that is asked for is no failure
    eventually(lambda: not consumers(stack))  # the killed scaler's too
    come_and_go(stack)


def come_and_go(stack: FaultStack) -> None:
    """Bursts with nothing between them, for two scalers that know nothing of each other."""
    stack.scaler("second scaler")
    stack.supervisor.start("second scaler")
    for _ in range(CYCLES):
        load = stack.load(Asking(webhook=stack.receiver.url), rate=100, clients=4)
        before = stack.journal.count
        with load:
            eventually(lambda before=before: stack.journal.count > before + 20)  # type: ignore[misc]
        all_is_well(stack)
        assert not load.unexpected
        assert not load.counts["503"]  # nothing that a job needs is gone
        eventually(lambda: not consumers(stack))


def works(stack: FaultStack) -> None:
    """A new job goes all the way, past those that wait."""
    job = send(stack, ECHO, prompt="all the way", priority="high")
    assert ended(stack, job["id"])["status"] == "succeeded"


def stopped(stack: FaultStack, name: str, by: signal.Signals) -> None:
    """Told so, ended, started again by the supervisor, and at work again."""
    program = stack.supervisor.programs[name]
    starts = program.starts
    stack.supervisor.signal(name, by)
    eventually(lambda: program.starts > starts)
    eventually(lambda: is_ready(stack.urls[0]))
    works(stack)
