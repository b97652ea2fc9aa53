"""Models that share the slots of a host."""

from __future__ import annotations

from dataclasses import replace

from scaler.observation import Lag, ModelSeen
from scaler.policy import Policy
from scaler.sharing import GIB, PATIENCE, TURN, Memory
from tests.unit.scaler.seen import IDLE, NOW, RULES

NOTHING = replace(IDLE, lag=Lag())
WAITING = replace(NOTHING, model="waiting", lag=Lag(normal=1))
BUSY = replace(NOTHING, model="busy", lag=Lag(normal=3), consumers=1, ready=1)


def decide(*seen: ModelSeen, slots: int, now: float = NOW) -> dict[str, int]:
    return {one.model: one.consumers for one in Policy(slots).decide(seen, now)}


def idle(model: str, seconds: float, consumers: int = 1) -> ModelSeen:
    return replace(
        NOTHING,
        model=model,
        consumers=consumers,
        ready=consumers,
        idle_since=NOW - seconds,
        needed_lately=consumers,
    )


def test_there_are_never_more_consumers_than_slots() -> None:
    models = [replace(WAITING, model=str(number)) for number in range(5)]
    assert sum(decide(*models, slots=3).values()) == 3
    reasons = [one.reason for one in Policy(3).decide(models, NOW)]
    assert sum("DARKROOM_SLOTS" in reason for reason in reasons) == 2


def test_who_has_none_comes_before_who_wants_more() -> None:
    many = replace(BUSY, lag=Lag(normal=900), needed_lately=1)
    assert decide(many, WAITING, slots=3) == {"busy": 2, "waiting": 1}


def test_high_priority_comes_first_and_then_who_waits_for_the_longest() -> None:
    older = replace(WAITING, model="older", unserved_since=NOW - 9)
    high = replace(WAITING, model="high", lag=Lag(high=1))
    assert decide(WAITING, older, high, slots=2) == {"waiting": 0, "older": 1, "high": 1}


def test_free_slots_go_where_the_drain_time_is_longest() -> None:
    short = replace(BUSY, model="short", lag=Lag(normal=200))
    long = replace(BUSY, model="long", lag=Lag(normal=2000))
    given = decide(short, long, slots=22)
    assert sum(given.values()) == 22
    assert given["long"] > 5 * given["short"]


def test_the_longest_idle_consumer_gives_its_slot_to_waiting_work() -> None:
    given = decide(idle("newer", 25), idle("older", 30), WAITING, slots=2)
    # It is told to stop now; the slot is free once it has ended.
    assert given == {"newer": 1, "older": 0, "waiting": 0}
    ending = replace(idle("older", 30, consumers=0), stopping=1)
    assert decide(idle("newer", 25), ending, WAITING, slots=2) == {
        "newer": 1,
        "older": 0,
        "waiting": 0,
    }
    ended = idle("older", 30, consumers=0)
    assert decide(idle("newer", 25), ended, WAITING, slots=2) == {
        "newer": 1,
        "older": 0,
        "waiting": 1,
    }


def test_a_model_just_used_is_not_thrown_out_for_one_job_of_another() -> None:
    just = idle("just", 1)
    assert decide(just, WAITING, slots=1)["just"] == 1
    pays = replace(WAITING, lag=Lag(normal=10))  # 20 s of work, as long as a cold start
    assert decide(just, pays, slots=1)["just"] == 0
    patient = replace(WAITING, unserved_since=NOW - PATIENCE)
    assert decide(just, patient, slots=1)["just"] == 0


def test_one_waiting_model_takes_one_slot() -> None:
    givers = [idle(str(number), 40 + number) for number in range(3)]
    assert sum(decide(*givers, WAITING, slots=3).values()) == 2


def test_a_kept_consumer_gives_no_slot() -> None:
    kept = replace(idle("kept", 9000), rules=replace(RULES, minimum=1))
    patient = replace(WAITING, unserved_since=NOW - 9 * PATIENCE)
    assert decide(kept, patient, slots=1) == {"kept": 1, "waiting": 0}


def test_after_its_patience_a_model_takes_a_slot_of_the_one_that_has_most() -> None:
    many = replace(BUSY, model="many", lag=Lag(normal=900), consumers=3, ready=3)
    assert decide(BUSY, many, WAITING, slots=4) == {"busy": 1, "many": 3, "waiting": 0}
    patient = replace(WAITING, unserved_since=NOW - PATIENCE)
    assert decide(BUSY, many, patient, slots=4) == {"busy": 1, "many": 2, "waiting": 0}


def test_a_busy_model_keeps_its_only_slot_for_a_turn() -> None:
    patient = replace(WAITING, unserved_since=NOW - PATIENCE)
    within = replace(BUSY, served_since=NOW - TURN + 1)
    assert decide(within, patient, slots=1)["busy"] == 1
    over = replace(BUSY, served_since=NOW - TURN)
    assert decide(over, patient, slots=1)["busy"] == 0
    slow = replace(over, cold_start=TURN)
    assert decide(slow, patient, slots=1)["busy"] == 1


def test_a_broken_model_seldom_takes_a_busy_ones_slot() -> None:
    over = replace(BUSY, served_since=0.0)
    broken = replace(WAITING, unserved_since=0.0, failures=3, failed_at=NOW - 8 * PATIENCE + 1)
    assert decide(over, broken, slots=1)["busy"] == 1
    assert decide(idle("idle", 30), broken, slots=1)["idle"] == 0
    assert decide(over, broken, slots=1, now=NOW + 1)["busy"] == 0


def test_one_that_waits_in_vain_stops_nobody_behind_it() -> None:
    over = replace(BUSY, served_since=NOW - TURN)
    broken = replace(WAITING, model="broken", unserved_since=NOW - 2 * PATIENCE, failures=3)
    patient = replace(WAITING, unserved_since=NOW - PATIENCE)
    assert decide(over, broken, patient, slots=1)["busy"] == 0


def test_a_model_of_unknown_lag_keeps_its_slots() -> None:
    unknown = replace(BUSY, lag=None, consumers=3, ready=3, served_since=NOW - 9 * TURN)
    patient = replace(WAITING, unserved_since=NOW - PATIENCE)
    assert decide(unknown, patient, slots=3) == {"busy": 3, "waiting": 0}


def test_those_that_have_waited_for_their_patience_take_turns_by_age() -> None:
    high = replace(WAITING, model="high", lag=Lag(high=9), unserved_since=NOW - PATIENCE)
    older = replace(WAITING, model="older", unserved_since=NOW - PATIENCE - 1)
    assert decide(high, older, slots=1) == {"high": 0, "older": 1}


def test_who_has_waited_for_its_patience_comes_before_high_priority() -> None:
    high = replace(WAITING, model="high", lag=Lag(high=9), unserved_since=NOW - PATIENCE / 2)
    patient = replace(WAITING, unserved_since=NOW - PATIENCE)
    assert decide(high, patient, slots=1) == {"high": 0, "waiting": 1}


def test_a_minimum_comes_before_all_others() -> None:
    kept = replace(NOTHING, model="kept", rules=replace(RULES, minimum=2), consumers=1, ready=1)
    high = replace(WAITING, lag=Lag(high=1), unserved_since=NOW - 9 * PATIENCE)
    assert decide(kept, high, slots=2) == {"kept": 2, "waiting": 0}


def test_idle_consumers_give_way_to_a_backlog_of_a_model_that_has_some() -> None:
    behind = replace(BUSY, lag=Lag(normal=900))
    assert decide(idle("idle", 5, consumers=3), behind, slots=4) == {"idle": 2, "busy": 1}


def test_a_turn_is_long_enough_for_jobs_to_end() -> None:
    slow = replace(BUSY, seconds_per_job=200.0, served_since=NOW - 419)
    patient = replace(WAITING, unserved_since=NOW - PATIENCE)
    assert decide(slow, patient, slots=1)["busy"] == 1
    assert decide(replace(slow, served_since=NOW - 420), patient, slots=1)["busy"] == 0


def test_nobody_starves() -> None:
    """Ten models with work without end share two slots: each is served within its bound."""
    models, slots, step = [f"m{number}" for number in range(10)], 2, 1.0
    served_since = dict.fromkeys(models, 0.0)
    unserved_since = dict.fromkeys(models, 0.0)
    running: dict[str, int] = dict.fromkeys(models, 0)
    longest = 0.0
    for tick in range(5000):
        now = tick * step
        seen = [
            replace(
                BUSY,
                model=model,
                lag=Lag(normal=500),
                rules=replace(RULES, maximum=2),
                consumers=running[model],
                ready=running[model],
                unserved_since=unserved_since[model],
                served_since=served_since[model],
            )
            for model in models
        ]
        running = decide(*seen, slots=slots, now=now)
        assert sum(running.values()) <= slots
        for model in models:
            if running[model]:
                unserved_since[model] = now
            else:
                longest = max(longest, now - unserved_since[model])
                served_since[model] = now
    assert longest <= PATIENCE + ((len(models) - 1) // slots + 1) * (TURN + 2 * step)


def test_no_consumer_is_started_for_which_there_is_no_memory() -> None:
    large = replace(WAITING, model="large", memory=8 * GIB)
    small = replace(WAITING, model="small", memory=GIB)
    policy = Policy(4)
    one, other = policy.decide([large, small], NOW, Memory(free=4 * GIB, total=16 * GIB))
    assert (one.consumers, other.consumers) == (0, 1)
    assert "8.0 GiB" in one.reason


def test_those_that_load_have_their_memory_already() -> None:
    loads = replace(BUSY, model="loads", ready=0, consumers=1, memory=3 * GIB)
    small = replace(WAITING, model="small", memory=2 * GIB)
    _, refused = Policy(4).decide([loads, small], NOW, Memory(4 * GIB, 16 * GIB))
    assert refused.consumers == 0
    _, started = Policy(4).decide([loads, small], NOW, Memory(5 * GIB, 16 * GIB))
    assert started.consumers == 1


def test_for_memory_too_an_idle_model_gives_way() -> None:
    large = replace(WAITING, memory=8 * GIB, unserved_since=NOW - PATIENCE)
    gives, takes = Policy(4).decide(
        [replace(idle("idle", 50), memory=5 * GIB), large], NOW, Memory(4 * GIB, 16 * GIB)
    )
    assert (gives.consumers, takes.consumers) == (0, 0)  # it starts once that has ended


def test_a_model_that_no_memory_here_suffices_for_takes_nobodys_slot() -> None:
    huge = replace(WAITING, memory=80 * GIB, unserved_since=NOW - 9 * PATIENCE)
    keeps, refused = Policy(1).decide([idle("idle", 50), huge], NOW, Memory(4 * GIB, 16 * GIB))
    assert (keeps.consumers, refused.consumers) == (1, 0)


def test_nobody_starves_for_want_of_memory() -> None:
    """Five models of 3 GiB and one of 8 with work without end, in 12 GiB."""
    needs = {"large": 8 * GIB, **{f"small{number}": 3 * GIB for number in range(5)}}
    served_since, unserved_since = dict.fromkeys(needs, 0.0), dict.fromkeys(needs, 0.0)
    running = dict.fromkeys(needs, 0)
    longest = 0.0
    for now in range(0, 7200, 5):
        seen = [
            replace(
                BUSY, model=model, lag=Lag(normal=500), rules=replace(RULES, maximum=1),
                consumers=running[model], ready=running[model], memory=need,
                unserved_since=unserved_since[model], served_since=served_since[model],
            )
            for model, need in needs.items()
        ]  # fmt: skip
        held = sum(running[model] * need for model, need in needs.items())
        memory = Memory(12 * GIB - held, 16 * GIB)
        running = {one.model: one.consumers for one in Policy(9).decide(seen, now, memory)}
        for model in needs:
            if running[model]:
                unserved_since[model] = now
            else:
                longest = max(longest, now - unserved_since[model])
                served_since[model] = now
    assert longest <= PATIENCE + 6 * (TURN + 10)


def test_nobody_gives_way_to_one_that_would_not_fit_all_the_same() -> None:
    large = replace(WAITING, memory=13 * GIB, unserved_since=NOW - 9 * PATIENCE)
    given = replace(idle("idle", 50), memory=GIB)
    keeps, refused = Policy(1).decide([given, large], NOW, Memory(10 * GIB, 16 * GIB))
    assert (keeps.consumers, refused.consumers) == (1, 0)


def test_a_model_that_was_never_measured_is_started_however_little_is_free() -> None:
    [started] = Policy(4).decide([WAITING], NOW, Memory(-GIB, 16 * GIB))
    assert started.consumers == 1


def test_a_paused_model_keeps_what_it_has_and_gives_nothing() -> None:
    paused = replace(idle("paused", 9000), paused=True)
    patient = replace(WAITING, unserved_since=NOW - 9 * PATIENCE)
    kept, waits = Policy(1).decide([paused, patient], NOW)
    assert (kept.consumers, kept.reason, waits.consumers) == (1, "paused", 0)
    [none] = Policy(4).decide([replace(WAITING, paused=True)], NOW)
    assert (none.consumers, none.reason) == (0, "paused")
