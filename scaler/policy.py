"""How many consumers each model should have, and why. Pure: what is seen and the time go in.

First form: work waiting -> one consumer; nothing for a while -> none. Unknown lag changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FIRST_BACKOFF = 5.0  # seconds
LONGEST_BACKOFF = 120.0


@dataclass(frozen=True, slots=True)
class ModelSeen:
    """One model as observed. Times are seconds, on the same clock as `now`."""

    model: str
    lag: int | None  # jobs not finished, running ones included; None: the log did not answer
    consumers: int  # alive and not stopping
    minimum: int  # kept even when idle
    idle_after: float  # seconds without work before the last consumer stops
    idle_since: float  # when it last had work
    failures: int = 0  # consumers that died in a row
    failed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """`consumers` is what there should be from now on."""

    model: str
    consumers: int
    reason: str


class Policy:
    """Decides for all models at once, since they share the slots of this host."""

    def __init__(self, slots: int) -> None:
        self._slots = slots

    def decide(self, seen: Sequence[ModelSeen], now: float) -> list[Decision]:
        """One decision a model, in the order given."""
        decisions = {model.model: _alone(model, now) for model in seen}
        free = self._slots - sum(min(m.consumers, decisions[m.model].consumers) for m in seen)
        idle = sorted((m for m in seen if _could_give_way(m)), key=lambda m: m.idle_since)
        for model in seen:
            wanted = decisions[model.model].consumers - model.consumers
            while wanted > max(free, 0) and idle:
                giver = idle.pop(0)
                if decisions[giver.model].consumers >= giver.consumers:
                    decisions[giver.model] = Decision(
                        giver.model, 0, f"idle, and {model.model} needs its slot"
                    )
                    free += giver.consumers
            granted = max(min(wanted, free), 0)
            if granted < wanted:
                decisions[model.model] = Decision(
                    model.model,
                    model.consumers + granted,
                    f"all {self._slots} slots are taken (DARKROOM_SLOTS)",
                )
            free -= granted
        return list(decisions.values())


def backoff(failures: int) -> float:
    """Seconds to wait after the last of so many failures in a row."""
    return min(FIRST_BACKOFF * 2.0 ** (failures - 1), LONGEST_BACKOFF) if failures else 0.0


def _alone(model: ModelSeen, now: float) -> Decision:
    """What the model should have if no other wanted a slot."""
    if model.lag is None:
        return Decision(model.model, model.consumers, "lag unknown: nothing changes")
    wanted = max(1 if model.lag > 0 else 0, model.minimum)
    if wanted > model.consumers and now < model.failed_at + backoff(model.failures):
        wait = model.failed_at + backoff(model.failures) - now
        times = "once" if model.failures == 1 else f"{model.failures} times in a row"
        return Decision(model.model, model.consumers, f"failed {times}: next try in {wait:.0f} s")
    if model.lag > 0:
        return Decision(model.model, max(wanted, model.consumers), f"{model.lag} jobs to do")
    if model.consumers > wanted and now < model.idle_since + model.idle_after:
        return Decision(model.model, model.consumers, "idle, but not for long enough")
    return Decision(model.model, wanted, f"idle; min={model.minimum}")


def _could_give_way(model: ModelSeen) -> bool:
    return model.lag == 0 and model.consumers > 0 and model.minimum == 0
