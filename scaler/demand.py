"""How many consumers a model's own work asks for, as if no other model wanted a slot. Pure."""

from __future__ import annotations

import math

from scaler.observation import Decision, Lag, ModelSeen
from scaler.rate import WINDOW_SECONDS

# The target of each priority, in targets of normal.
TARGETS = Lag(high=1, normal=3, low=30)
# With k consumers and a load of R of them, a job waits longer than t with a probability of at most
# exp(-(k - R) t / seconds per job) (M/M/k, Erlang C). Three of these lengths are its p95.
P95 = 3.0
GROWN = 0.25  # of the target: a drain time that is no accident of arrivals
FIRST_BACKOFF = 5.0  # seconds
LONGEST_BACKOFF = 120.0


def demand(seen: ModelSeen, now: float) -> Decision:
    """What the model should have, and why."""
    if seen.lag is None:
        return _keep(seen, seen.needed_lately, "lag unknown: nothing changes")
    rules = seen.rules
    enough, why = _enough(seen, seen.lag)
    needed = _within(seen, max(enough, _to_keep_up(seen) if enough else 0))
    wanted = _within(seen, enough)
    if wanted > seen.consumers:
        if now < (again := seen.failed_at + backoff(seen.failures)):
            times = "once" if seen.failures == 1 else f"{seen.failures} times in a row"
            return _keep(seen, needed, f"failed {times}: next try in {again - now:.0f} s")
        limit = f"; no more than max={rules.maximum}" if enough > rules.maximum else ""
        return Decision(seen.model, wanted, why + limit, needed)
    if seen.lag.jobs == 0 and now >= seen.idle_since + rules.cooldown:
        return Decision(seen.model, rules.minimum, f"idle; min={rules.minimum}", 0)
    fewer = max(needed, seen.needed_lately, rules.minimum, min(seen.consumers, 1))
    if fewer >= seen.consumers:
        return _keep(seen, needed, why if seen.lag.jobs else "idle, but not for long enough")
    return Decision(
        seen.model, fewer, f"{fewer} were enough for the last {rules.hold_down:g} s", needed
    )


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
