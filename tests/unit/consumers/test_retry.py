from __future__ import annotations

import pytest

from common.errors import (
    BadInput,
    DarkroomError,
    EngineCrashed,
    LogUnavailable,
    ModelUnavailable,
    ObjectMissing,
    OutOfMemory,
)
from consumers.retry import GiveUp, TryAgain, decide


def test_a_crash_is_tried_again_twice_and_then_given_up() -> None:
    crash = EngineCrashed("ended by SIGSEGV")
    assert [decide(crash, crashes) for crashes in (1, 2)] == [TryAgain(), TryAgain()]
    last = decide(crash, 3)
    assert isinstance(last, GiveUp)
    assert last.code == "engine_crashed"
    assert "SIGSEGV" in last.error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("no", code="too_wide"), "too_wide"),
        (OutOfMemory("8 GiB"), "out_of_memory"),
        (ObjectMissing("inputs/x"), "input_missing"),
    ],
)
def test_what_can_never_work_is_given_up_at_once(error: DarkroomError, code: str) -> None:
    decision = decide(error, 0)
    assert isinstance(decision, GiveUp)
    assert decision.code == code


@pytest.mark.parametrize("error", [LogUnavailable("gone"), ModelUnavailable("gone")])
def test_what_is_no_verdict_on_the_job_is_not_decided_here(error: DarkroomError) -> None:
    with pytest.raises(type(error)):
        decide(error, 0)
