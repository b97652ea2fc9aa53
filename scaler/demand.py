"""How many consumers a model's own work asks for, as if no other model wanted a slot. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

from scaler.observation import Alert, Decision, Lag, ModelSeen
from scaler.rate import WINDOW_SECONDS

# The target of each priority, in targets of normal.
TARGETS = Lag(high=1, normal=3, low=30)
# With k consumers and a load of R of them, a job waits longer than t with a probability of at most
# exp(-(k - R) t / seconds per job) (M/M/k, Erlang C). Three of these lengths are its p95.
P95 = 3.0
GROWN = 0.25  # of the target: a drain time that is no accident of arrivals
FIRST_BACKOFF = 5.0  # seconds
LONGEST_BACKOFF = 120.0
BREAKER = 5  # failures in a row, from which on one consumer is tried at a time
# Without any progress for so long, more consumers would only hang as well.
POISON_SECONDS = 600.0
POISON_JOBS = 4.0  # or for as long as so many jobs usually take


def demand(seen: ModelSeen, now: float) -> Decision:
    """What the model should have, and why."""
    decision = _demand(seen, now)
    return replace(decision, alert=Alert.BREAKER) if seen.failures >= BREAKER else decision


def _demand(seen: ModelSeen, now: float) -> Decision:
    if seen.lag is None:
        return _keep(seen, seen.needed_lately, "lag unknown: nothing changes")
    rules = seen.rules
    if (poison := _poison(seen, now)) is not None:
        return poison
    enough, why = _enough(seen, seen.lag)
    needed = _within(seen, max(enough, _to_keep_up(seen) if enough else 0))
    wanted = _within(seen, enough)
    if wanted > seen.consumers:
        why += f"; no more than max={rules.maximum}" if enough > rules.maximum else ""
        wanted, why = _try_again(seen, wanted, why, now) if seen.failures else (wanted, why)
        return Decision(seen.model, wanted, why, needed)
    if seen.lag.jobs == 0 and now >= seen.idle_since + rules.cooldown:
        return Decision(seen.model, rules.minimum, f"idle; min={rules.minimum}", 0)
    fewer = max(needed, seen.needed_lately, rules.minimum, min(seen.consumers, 1))
    if fewer >= seen.consumers:
        return _keep(seen, needed, why if seen.lag.jobs else "idle, but not for long enough")
    return Decision(
        seen.model, fewer, f"{fewer} were enough for the last {rules.hold_down:g} s", needed
    )


def _try_again(seen: ModelSeen, wanted: int, why: str, now: float) -> tuple[int, str]:
    """After its time, and with an open breaker one consumer alone."""
    times = "once" if seen.failures == 1 else f"{seen.failures} times in a row"
    if now < (again := seen.failed_at + backoff(seen.failures)):
        return seen.consumers, f"failed {times}: next try in {again - now:.0f} s"
    if seen.failures < BREAKER:
        return wanted, why
    return seen.consumers + 1, f"failed {times}: one is tried; {why}"


def _poison(seen: ModelSeen, now: float) -> Decision | None:
    """What hangs is not scaled on."""
    usual = POISON_JOBS * (seen.seconds_per_job or 0.0)
    if seen.stuck_since is None or now - seen.stuck_since < max(POISON_SECONDS, usual):
        return None
    jobs = seen.lag.jobs if seen.lag else 0
    reason = (
        f"poison: {jobs} jobs to do, {seen.ready} ready, "
        f"and none got further for {now - seen.stuck_since:.0f} s"
    )
    return Decision(seen.model, seen.consumers, reason, seen.needed_lately, Alert.POISON)


def backoff(failures: int) -> float:
    """Seconds to wait after the last of so many failures in a row."""
    return min(FIRST_BACKOFF * 2.0 ** (failures - 1), LONGEST_BACKOFF) if failures else 0.0


def _keep(seen: ModelSeen, needed: int, reason: str) -> Decision:
    return Decision(seen.model, seen.consumers, reason, needed)


def _within(seen: ModelSeen, consumers: int) -> int:
    return max(min(consumers, seen.rules.maximum), seen.rules.minimum)


def _enough(seen: ModelSeen, lag: Lag) -> tuple[int, str]:
    """The fewest that do what waits within its targets, and do not fall behind what arrives."""
    if lag.jobs == 0:
        return 0, f"idle; min={seen.rules.minimum}"
    seconds = seen.seconds_per_job
    if seconds is None:
        return 1, f"{lag.jobs} jobs to do, and how long one takes is not known yet"
    most, why = 1, f"{lag.jobs} jobs to do"
    before = 0
    for priority, jobs, share in zip(Lag._fields, lag, TARGETS, strict=True):
        before += jobs
        target = seen.rules.target * share / TARGETS.normal
        if jobs and (count := _to_drain(seen, before * seconds, target)) > most:
            most = count
            drain = before * seconds / max(seen.ready, 1)
            why = (
                f"{before} jobs of {priority} priority and above take "
                f"{max(seen.ready, 1)} {drain:.0f} s: target {target:g} s"
            )
    waiting = max(lag.jobs - seen.ready, 0)  # the others are being worked on
    grows = waiting * seconds > seen.consumers * seen.rules.target * GROWN
    if grows and (keeping := _to_keep_up(seen)) > max(seen.consumers, most):
        most = keeping
        why = f"{seen.arrivals:.3g} jobs of {seconds:.3g} s arrive each second"
    return min(most, lag.jobs), why


def _to_drain(seen: ModelSeen, work: float, target: float) -> int:
    """The fewest that do `work` seconds of it within `target`.

    Those that have to load first have less time for it. None is started if all would be done
    before it could begin.
    """
    left = work - seen.ready * target
    if left <= 0:
        return math.ceil(work / target)
    if seen.ready and work / seen.ready <= seen.cold_start:
        return seen.ready
    return seen.ready + math.ceil(left / max(target - seen.cold_start, target / 2))


def _to_keep_up(seen: ModelSeen) -> int:
    """The fewest with which what arrives seldom waits for longer than the target."""
    seconds = seen.seconds_per_job or 0.0
    load = seen.arrivals * seconds
    spare = min(P95 * seconds / seen.rules.target, max(load, 1.0))
    return math.ceil(load + 2 * _doubt(seen) + spare)


def _doubt(seen: ModelSeen) -> float:
    """The standard deviation of the measured load, of arrivals as independent as Poisson's."""
    return (seen.seconds_per_job or 0.0) * math.sqrt(seen.arrivals / (2 * WINDOW_SECONDS))
