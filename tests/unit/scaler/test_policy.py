from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.policy import ModelSeen, Policy, backoff

NOW = 1000.0
IDLE = ModelSeen(
    model="m", lag=0, consumers=0, minimum=0, idle_after=60.0, idle_since=NOW, failures=0
)


def decide(*seen: ModelSeen, slots: int = 4) -> dict[str, int]:
    return {d.model: d.consumers for d in Policy(slots).decide(seen, NOW)}


def test_work_starts_a_consumer() -> None:
    assert decide(replace(IDLE, lag=1)) == {"m": 1}


def test_nothing_to_do_starts_nothing() -> None:
    assert decide(IDLE) == {"m": 0}


def test_an_idle_consumer_stays_for_a_while_and_then_stops() -> None:
    assert decide(replace(IDLE, consumers=1, idle_since=NOW - 59)) == {"m": 1}
    assert decide(replace(IDLE, consumers=1, idle_since=NOW - 61)) == {"m": 0}


def test_the_minimum_is_kept_when_idle() -> None:
    assert decide(replace(IDLE, minimum=2)) == {"m": 2}
    assert decide(replace(IDLE, minimum=1, consumers=1, idle_since=0.0)) == {"m": 1}


@pytest.mark.parametrize("consumers", [0, 1, 3])
def test_an_unknown_lag_changes_nothing(consumers: int) -> None:
    assert decide(replace(IDLE, lag=None, consumers=consumers, idle_since=0.0)) == {"m": consumers}


def test_a_consumer_that_died_is_started_again_after_a_backoff_that_grows() -> None:
    died = replace(IDLE, lag=5, failures=3, failed_at=NOW - backoff(3) + 1)
    (decision,) = Policy(4).decide([died], NOW)
    assert decision.consumers == 0
    assert "3 times" in decision.reason
    assert decide(replace(died, failed_at=NOW - backoff(3))) == {"m": 1}
    assert backoff(1) < backoff(2) < backoff(20) == backoff(21)


def test_there_are_never_more_consumers_than_slots() -> None:
    models = [replace(IDLE, model=str(n), lag=1) for n in range(5)]
    assert sum(decide(*models, slots=3).values()) == 3
    reasons = [d.reason for d in Policy(3).decide(models, NOW)]
    assert sum("DARKROOM_SLOTS" in reason for reason in reasons) == 2


def test_the_longest_idle_consumer_gives_its_slot_to_waiting_work() -> None:
    older = replace(IDLE, model="older", consumers=1, idle_since=NOW - 30)
    newer = replace(IDLE, model="newer", consumers=1, idle_since=NOW - 10)
    waiting = replace(IDLE, model="waiting", lag=1)
    assert decide(newer, older, waiting, slots=2) == {"newer": 1, "older": 0, "waiting": 1}


def test_a_busy_consumer_or_a_kept_one_gives_no_slot() -> None:
    busy = replace(IDLE, model="busy", lag=3, consumers=1)
    kept = replace(IDLE, model="kept", minimum=1, consumers=1)
    waiting = replace(IDLE, model="waiting", lag=1)
    assert decide(busy, kept, waiting, slots=2) == {"busy": 1, "kept": 1, "waiting": 0}
