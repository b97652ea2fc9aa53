"""What a scrape of the scaler shows."""

from __future__ import annotations

from dataclasses import replace

from common.events import WorkerHeartbeat, WorkerState
from scaler.exposing import Exposed
from scaler.observation import Alert, Decision, Lag
from tests.unit.scaler.seen import IDLE, NOW

SEEN = replace(IDLE, lag=Lag(high=1, normal=4), consumers=2, ready=1, stopping=1)
KEEP = Decision("m", 2, "")


def value(exposed: Exposed, name: str, **labels: str) -> float | None:
    return exposed.registry.get_sample_value(f"darkroom_{name}", labels)


def of_model(exposed: Exposed, name: str) -> float | None:
    return value(exposed, f"scaler_{name}", model="m")


def test_a_round_is_shown_as_it_was_seen_and_decided() -> None:
    exposed = Exposed(slots=4)
    exposed.saw([replace(SEEN, unserved_since=NOW - 7)], [Decision("m", 3, "")], NOW)
    assert of_model(exposed, "consumers_wanted") == 3
    assert of_model(exposed, "consumers_alive") == 2
    assert of_model(exposed, "consumers_ready") == 1
    assert of_model(exposed, "unserved_seconds") == 7
    assert value(exposed, "scaler_lag_jobs", model="m", priority="normal") == 4
    assert value(exposed, "scaler_slots") == 4
    assert value(exposed, "scaler_slots_used") == 3
    assert value(exposed, "dependency_up", dependency="log") == 1


def test_drain_time_is_that_of_all_that_waits_by_the_ready() -> None:
    exposed = Exposed()
    exposed.saw([SEEN], [KEEP], NOW)
    assert of_model(exposed, "drain_seconds") == 5 * 2.0


def test_what_is_unknown_is_not_shown() -> None:
    exposed = Exposed()
    exposed.saw([replace(SEEN, lag=None, seconds_per_job=None)], [KEEP], NOW)
    for name in ("drain_seconds", "unserved_seconds", "seconds_per_job"):
        assert of_model(exposed, name) is None
    assert value(exposed, "scaler_lag_jobs", model="m", priority="normal") is None
    assert value(exposed, "dependency_up", dependency="log") == 0
    assert of_model(exposed, "consumers_alive") == 2


def test_changes_are_counted_by_their_direction_and_rounds_without_one_are_none() -> None:
    exposed = Exposed()
    for consumers in (2, 3, 4, 1):
        exposed.saw([SEEN], [Decision("m", consumers, "")], NOW)
        exposed.changed(Decision("m", consumers, ""), SEEN.consumers)
    assert value(exposed, "scaler_changes_total", model="m", direction="up") == 2
    assert value(exposed, "scaler_changes_total", model="m", direction="down") == 1
    assert value(exposed, "scaler_rounds_total") == 4


def test_a_scaler_that_does_not_lead_shows_no_models() -> None:
    exposed = Exposed()
    exposed.set_leader(True)
    exposed.saw([SEEN], [KEEP], NOW)
    assert value(exposed, "scaler_leader") == 1
    exposed.set_leader(False)
    assert value(exposed, "scaler_leader") == 0
    assert of_model(exposed, "consumers_wanted") is None


def test_poison_and_open_breakers_are_shown_of_every_model() -> None:
    exposed = Exposed()
    decisions = [replace(KEEP, alert=Alert.POISON), Decision("n", 2, "", alert=Alert.BREAKER)]
    exposed.saw([SEEN, replace(SEEN, model="n")], decisions, NOW)
    assert [value(exposed, "scaler_poison", model=m) for m in "mn"] == [1, 0]
    assert [value(exposed, "scaler_breaker_open", model=m) for m in "mn"] == [0, 1]


def test_a_worker_that_fell_silent_is_shown_for_ten_minutes() -> None:
    clock = [100.0]
    exposed = Exposed(clock=lambda: clock[0])
    heartbeat = WorkerHeartbeat(
        worker="w", model="m", state=WorkerState.READY, at=100.0, host="h", pid=1
    )
    exposed.follow(lambda: [heartbeat])

    def age() -> float | None:
        return value(exposed, "worker_heartbeat_age_seconds", model="m", worker="w", state="ready")

    clock[0] += 600
    assert age() == 600
    clock[0] += 1
    assert age() is None


def test_a_round_that_was_passed_over_shows_nothing_of_the_one_before() -> None:
    exposed = Exposed()
    exposed.saw([SEEN], [KEEP], NOW)
    exposed.saw_nothing(log=False)
    assert of_model(exposed, "consumers_wanted") is None
    assert value(exposed, "dependency_up", dependency="log") == 0
