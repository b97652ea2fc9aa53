"""A consumer that is killed below its scaler, and how soon its job starts again: promise 5."""

from __future__ import annotations

import time

import pytest

from tests.e2e.stack import eventually
from tests.faults.asking import ECHO
from tests.faults.conftest import OnBoth
from tests.faults.looking import all_is_well, consumers, ended, job_of, moment, send
from tests.faults.stack import FaultStack

AGAIN_SECONDS = 75.0  # and the model's cold start


@pytest.mark.timeout(1200)
def test_the_job_of_a_killed_consumer_starts_again_in_time(on_both: OnBoth) -> None:
    on_both(kill_it)


def kill_it(stack: FaultStack) -> None:
    stack.api()
    stack.recorder()
    stack.notifier()
    stack.scaler()
    stack.start()
    first = ended(stack, send(stack, ECHO, prompt="first")["id"])
    cold_start = moment(first["started_at"]) - moment(first["created_at"])
    job = send(stack, ECHO, prompt="in hand", delay=15)
    eventually(lambda: job_of(stack, job["id"])["status"] == "processing")
    [consumer] = consumers(stack)
    consumer.kill()
    killed_at = time.time()
    again = ended(stack, job["id"])
    assert (again["status"], again["output"], again["attempt"]) == ("succeeded", "in hand", 2)
    assert 0 < moment(again["started_at"]) - killed_at < AGAIN_SECONDS + cold_start
    all_is_well(stack)
