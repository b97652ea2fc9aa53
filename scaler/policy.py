"""How many consumers each model should have, and why. Pure: what is seen and the time go in."""

from __future__ import annotations

from collections.abc import Sequence

from scaler.demand import demand
from scaler.observation import Decision, ModelSeen
from scaler.sharing import share


class Policy:
    """Decides for all models at once, since they share the slots of this host."""

    def __init__(self, slots: int) -> None:
        self._slots = slots

    def decide(self, seen: Sequence[ModelSeen], now: float) -> list[Decision]:
        """One decision a model, in the order given."""
        return share(seen, [demand(model, now) for model in seen], self._slots, now)
