"""The model of the system, against what can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from common.errors import SettingsInvalid
from common.scaling import Rules
from scaler.observation import Look
from scaler.simulation.compare import compare
from scaler.simulation.picture import draw
from scaler.simulation.rules import AlwaysOn, Keda
from scaler.simulation.system import System, simulate
from scaler.simulation.traces import PATTERNS, TICK, Trace, burst, poisson, read_trace


class Fixed:
    """So many consumers, always."""

    name = "fixed"

    def __init__(self, *consumers: int) -> None:
        self.consumers = list(consumers)
        self.reasons = ["fixed"] * len(consumers)
        self.looks: list[Look] = []

    def decide(self, looks: Sequence[Look], _now: float) -> list[int]:
        self.looks = list(looks)
        return self.consumers


def trace_of(*arrivals: tuple[int, int, int, int], ticks: int = 1, models: int = 1) -> Trace:
    """`(tick, high, normal, low)` of the first model."""
    counts = np.zeros((models, ticks, 3), np.int64)
    for tick, *jobs in arrivals:
        counts[0, tick] = jobs
    return Trace("by hand", tuple(f"m{number}" for number in range(models)), counts)


def test_one_consumer_does_one_job_after_the_other() -> None:
    trace = trace_of((0, 0, 4, 0))
    outcome = simulate(trace, Fixed(1), System(seconds_per_job=0.5, cold_start=10.0))
    # Ready after 10 s, then one each half second: a service time of one tick has no spread.
    assert outcome.waits.tolist() == [10.0, 10.5, 11.0, 11.5]
    assert outcome.counts.tolist() == [1, 1, 1, 1]
    assert outcome.done == outcome.jobs == 4
    assert [change.after for change in outcome.changes] == [1]


def test_the_share_of_jobs_by_their_wait() -> None:
    outcome = simulate(trace_of((0, 0, 4, 0)), Fixed(1), System(0.5, 10.0))
    assert [outcome.wait(share) for share in (0.25, 0.5, 0.51, 1.0)] == [10.0, 10.5, 11.0, 11.5]
    assert outcome.wait(1.0, beyond=10.0) == 1.5
    assert outcome.wait(0.25, beyond=20.0) == 0.0


def test_high_priority_does_not_wait_for_what_came_before() -> None:
    trace = trace_of((0, 0, 600, 0), (40, 6, 0, 0), ticks=41)
    outcome = simulate(trace, Fixed(3), System(seconds_per_job=0.5, cold_start=0.0))
    waits = np.repeat(outcome.waits, outcome.counts)
    assert len(waits) == 606
    assert outcome.wait(1.0) == pytest.approx(606 / 3 * TICK, abs=2 * TICK)
    only = simulate(trace_of((0, 0, 600, 0)), Fixed(3), System(0.5, 0.0))
    # Eight of eleven go to the high ones while there are any: they wait for a few ticks.
    assert (waits < 3.0).sum() >= (np.repeat(only.waits, only.counts) < 3.0).sum() + 6


def test_device_hours_count_from_the_start_and_until_the_job_has_ended() -> None:
    class Once(Fixed):
        def decide(self, _looks: Sequence[Look], now: float) -> list[int]:
            return [2] if now < 20.0 else [0]

    trace = trace_of((0, 0, 1, 0), ticks=200)
    outcome = simulate(trace, Once(0), System(seconds_per_job=40.0, cold_start=5.0))
    assert outcome.done == 1
    assert outcome.consumers[:40].tolist() == [2] * 40
    ended = int(np.argmin(outcome.consumers))  # of the two, one was idle, the other had the job
    assert set(outcome.consumers[41:ended].tolist()) == {1}
    assert outcome.device_hours == pytest.approx(outcome.consumers.sum() * TICK / 3600)


def test_the_queue_of_one_server_is_as_long_as_queueing_theory_says() -> None:
    """M/G/1, Pollaczek and Khinchine: the mean wait is R s (1 + spread^2) / (2 (1 - R))."""
    trace = poisson(0.2, 200_000.0)
    outcome = simulate(trace, Fixed(1), System(seconds_per_job=4.0, cold_start=0.0))
    mean = float((outcome.waits * outcome.counts).sum() / outcome.counts.sum())
    assert mean == pytest.approx(0.8 * 4.0 * 1.09 / (2 * 0.2), rel=0.1)


def test_those_that_stop_hold_their_slots_and_take_no_fresh_ones_place() -> None:
    class Swap(Fixed):
        """Two that work are told to stop; two others come."""

        def decide(self, looks: Sequence[Look], now: float) -> list[int]:
            self.looks.append(looks[0])
            return [2] if now < 10.0 else [0] if now < 11.0 else [2]

    trace = trace_of((0, 0, 2, 0), (60, 0, 2, 0), ticks=61)
    outcome = simulate(trace, rule := Swap(0), System(seconds_per_job=100.0, cold_start=5.0))
    assert outcome.consumers[40] == 4  # at 20 s: two end their jobs, two are ready
    assert (rule.looks[60].stopping, rule.looks[60].ready) == (2, 2)
    waits = np.repeat(outcome.waits, outcome.counts)
    assert waits.tolist() == [0.0, 0.0, 5.0, 5.0]  # the late ones find the fresh consumers idle


def test_a_look_is_what_the_scaler_would_see() -> None:
    rule = Fixed(2)
    simulate(trace_of((0, 1, 5, 2), ticks=3), rule, System(1.0, 0.0))
    assert rule.looks[0].done == 8
    assert rule.looks[0].lag == (0, 0, 0)
    assert (rule.looks[0].consumers, rule.looks[0].ready) == (2, 2)


def test_keda_polls_and_holds() -> None:
    keda = Keda(trace_of((0, 0, 0, 0)), slots=1000)

    def decided(jobs: int, have: int, now: float) -> int:
        from scaler.observation import Lag

        look = Look(lag=Lag(normal=jobs), done=0, consumers=have, ready=have)
        return keda.decide([look], now)[0]

    assert decided(95, 0, 0.0) == 10
    assert decided(500, 10, 15.0) == 10  # between two polls
    assert decided(500, 10, 30.0) == 50
    assert decided(5, 50, 60.0) == 50  # the autoscaler's stabilization
    assert decided(5, 50, 331.0) == 1
    assert decided(0, 1, 361.0) == 1
    assert decided(0, 1, 660.0) == 0  # the cooldown


def test_an_always_on_fleet_is_as_large_as_its_busiest_minutes_need() -> None:
    trace = poisson(10.0, 3600.0)
    (fleet,) = AlwaysOn(trace, 2.0, 1000).decide([], 0.0)
    assert 20 <= fleet <= 23
    assert AlwaysOn(trace, 2.0, 7).decide([], 0.0) == [7]


def test_a_steady_model_of_high_priority_starves_no_other() -> None:
    """One slot; the first model's work is of high priority and never ends."""
    trace = trace_of(ticks=7200, models=2)
    trace.arrivals[0, ::4, 0] = 1  # each two seconds, of 2 s
    trace.arrivals[1, ::600, 1] = 1
    ours, *_ = compare(trace, System(slots=1), Rules(maximum=1))
    assert len([c for c in ours.changes if c.model == "m1" and c.after and c.at < 3600.0]) > 5


@pytest.mark.parametrize("pattern", PATTERNS)
def test_ours_waits_at_most_half_as_long_as_kedas_at_no_more_device_hours(pattern: str) -> None:
    """A few hours; benchmarks/RESULTS.md has whole days and 10^8 jobs."""
    hours = 12.0 if pattern == "diurnal" else 2.0  # from midnight to noon
    trace = PATTERNS[pattern](4.0, hours * 3600.0)
    ours, keda, _ = compare(trace, System(), Rules(maximum=1000))
    assert ours.done == keda.done == trace.jobs
    assert ours.wait(0.95, 20.0) <= keda.wait(0.95, 20.0) / 2
    assert ours.device_hours <= keda.device_hours


@pytest.mark.parametrize(("rate", "seconds_per_job"), [(10.0, 2.0), (0.2, 20.0)])
def test_a_steady_load_changes_little(rate: float, seconds_per_job: float) -> None:
    hours = 8.0
    system = System(seconds_per_job)
    ours, *_ = compare(poisson(rate, hours * 3600.0), system, Rules(maximum=1000))
    after_the_first_minutes = [change for change in ours.changes if change.at > 900.0]
    assert len(after_the_first_minutes) < 6 * hours


def test_slots_are_never_passed() -> None:
    ours, *_ = compare(burst(20.0, 3600.0), System(slots=12), Rules(maximum=1000))
    assert ours.consumers.max() == 12
    assert ours.done == ours.jobs


def test_a_trace_is_read(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("second,model,priority,jobs\n0,b/two,,\n10.2,a/one,high,3\n10.4,a/one,high,1\n")
    trace = read_trace(file)
    assert trace.models == ("a/one", "b/two")
    assert trace.arrivals[0, 20].tolist() == [4, 0, 0]
    assert trace.arrivals[1, 0].tolist() == [0, 1, 0]
    assert (trace.jobs, trace.name) == (5, "trace")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no job is in it"),
        ("second,model,priority,jobs\n1,m,low,0\n", "no job is in it"),
        ("second,model\n0,a\n1\n", "line 3"),
        ("second,model\n", "no job is in it"),
        ("second,model\nx,m\n", "line 2"),
        ("second,model\n1,m\n-1,m\n", "line 3"),
        ("second,model,priority\n1,m,urgent\n", "high, normal, low"),
        ("model\nm\n", "line 2"),
        ("second,model,priority,jobs\n1,m,low,-4\n", "not negative"),
        ("second,model\nnan,m\n", "line 2"),
    ],
)
def test_a_trace_that_makes_no_sense_is_named_with_its_line(
    text: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(SettingsInvalid, match=reason) as error:
        read_trace(file)
    assert str(file) in str(error.value)


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    outcomes = compare(poisson(1.0, 600.0), System(), Rules(maximum=10))
    draw([outcomes, outcomes], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
