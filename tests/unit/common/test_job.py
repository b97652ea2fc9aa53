from __future__ import annotations

from common.job import TERMINAL, TRANSITIONS, JobState, Priority


def test_a_terminal_state_never_changes() -> None:
    for state in JobState:
        assert state.terminal == (state in TERMINAL) == (not TRANSITIONS[state])


def test_every_job_can_end_from_wherever_it_is() -> None:
    for state in JobState:
        assert state.terminal or TRANSITIONS[state] >= TERMINAL


def test_a_released_job_waits_again() -> None:
    assert JobState.STARTING in TRANSITIONS[JobState.PROCESSING]


def test_priorities_are_named_from_high_to_low_and_weigh_eight_three_one() -> None:
    assert [(priority.value, priority.weight) for priority in Priority] == [
        ("high", 8),
        ("normal", 3),
        ("low", 1),
    ]
