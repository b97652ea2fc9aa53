"""A broker that is really restarted, and really wiped, while jobs keep arriving."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.kafka import Kafka
from tests.e2e.stack import eventually
from tests.faults.asking import Asking
from tests.faults.looking import all_is_well
from tests.faults.stack import FaultStack


@pytest.mark.timeout(1200)
def test_a_broker_restarted_and_wiped_under_load_loses_no_job(
    kafka: Kafka, servers: dict[str, str], tmp_path: Path
) -> None:
    own = {**servers, "DARKROOM_JOB_LOG_URL": f"kafka://{kafka.address}"}
    with FaultStack(tmp_path, own, DARKROOM_SWEEP_AFTER_SECONDS="10") as stack:
        stack.api()
        stack.recorder()
        stack.notifier()
        stack.scaler()
        stack.start()
        asking = Asking(webhook=stack.receiver.url, delay=0.05)
        with stack.load(asking, rate=20, clients=4) as load:
            eventually(lambda: stack.journal.count > 100)
            kafka.restart()
            more_are_accepted(stack)
            kafka.wipe()
            more_are_accepted(stack)
        verdict = all_is_well(stack)
        assert not load.unexpected
        assert verdict.ends == {"succeeded": verdict.accepted}


def more_are_accepted(stack: FaultStack, count: int = 100) -> None:
    before = stack.journal.count
    eventually(lambda: stack.journal.count > before + count)
