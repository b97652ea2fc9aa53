"""The supervisor: what dies is started again, and what it died of is counted."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil

from tests.e2e.stack import PROJECT, eventually
from tests.faults.supervisor import Supervisor

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT)}
DYING = """
import os, time
from common.crash_points import arm, crash_point
arm(os.environ["DARKROOM_CRASH_AT"])
crash_point("consumer.ran")
time.sleep(600)
"""


def test_a_point_armed_at_the_first_two_starts_is_hit_twice(tmp_path: Path) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    with Supervisor(tmp_path, ENVIRONMENT) as supervisor:
        supervisor.add("a", "dying", crash_at=lambda start: "consumer.ran" if start < 2 else "")
        supervisor.start()
        eventually(lambda: supervisor.programs["a"].starts == 3)
        third = psutil.Process(supervisor.pid("a"))
        assert supervisor.hits == {"consumer.ran": 2}
        assert [death.code for death in supervisor.deaths] == [-signal.SIGKILL] * 2
    assert not third.is_running()


def test_what_is_held_stays_down_until_it_is_let_go(tmp_path: Path) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    with Supervisor(tmp_path, ENVIRONMENT) as supervisor:
        supervisor.add("held", "dying")
        supervisor.add("other", "dying")
        supervisor.start()
        supervisor.hold("held")
        for name in ("held", "other"):
            supervisor.signal(name)
        eventually(lambda: supervisor.programs["other"].starts == 2)
        assert supervisor.programs["held"].starts == 1
        supervisor.hold("held", held=False)
        eventually(lambda: supervisor.programs["held"].starts == 2)
