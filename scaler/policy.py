"""How many consumers each model should have, and why. Pure: what is seen and the time go in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from common.scaling import Rules
from scaler.demand import demand
from scaler.observation import Decision, ModelSeen
from scaler.sharing import UNLIMITED, Memory, share


class Policy:
    """Decides for all models at once, since they share the slots and the memory of this host."""

    def __init__(self, slots: int) -> None:
        self._slots = slots

    def decide(
        self, seen: Sequence[ModelSeen], now: float, memory: Memory = UNLIMITED
    ) -> list[Decision]:
        """One decision a model, in the order given."""
        seen = [_kept(model) if model.paused else model for model in seen]
        wanted = [_paused(model) if model.paused else demand(model, now) for model in seen]
        return share(seen, wanted, self._slots, now, memory)


def _kept(model: ModelSeen) -> ModelSeen:
    """So that no other model takes of its consumers."""
    rules = Rules(minimum=model.consumers, maximum=max(model.consumers, 1))
    return replace(model, rules=rules)


def _paused(model: ModelSeen) -> Decision:
    return Decision(model.model, model.consumers, "paused", model.needed_lately)
