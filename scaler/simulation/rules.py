"""The scaling rules that are compared: ours, KEDA's, and a fleet that is always on."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from common.scaling import Rules
from scaler.history import History
from scaler.observation import Look
from scaler.policy import Policy
from scaler.simulation.traces import TICK, Trace


class Rule(Protocol):
    """Says how many consumers there should be."""

    name: str
    reasons: list[str]  # of the last decision, one a model

    def decide(self, looks: Sequence[Look], now: float, /) -> list[int]:
        """One number a model, in the order of the trace's models."""


class Darkroom:
    """The very policy of the scaler, with what its scaler remembers."""

    name = "darkroom"

    def __init__(self, trace: Trace, rules: Rules, slots: int) -> None:
        self._policy = Policy(slots)
        self._rules = rules
        self._histories = [History(model, 0.0) for model in trace.models]
        self.reasons: list[str] = []

    def decide(self, looks: Sequence[Look], now: float) -> list[int]:
        seen = [
            history.see(look, self._rules, now)
            for history, look in zip(self._histories, looks, strict=True)
        ]
        decisions = self._policy.decide(seen, now)
        for history, decision in zip(self._histories, decisions, strict=True):
            history.decided(decision, now)
        self.reasons = [decision.reason for decision in decisions]
        return [decision.consumers for decision in decisions]


class Keda:
    """KEDA with a lag trigger: ceil(lag / threshold), polled; to zero after the cooldown.

    Above one consumer a Kubernetes autoscaler stands behind it, which goes down only to the most
    that was wanted within its stabilization window. Defaults are KEDA's and the autoscaler's. Of
    slots it knows nothing: where they run out, whoever asks first has them, as with pods.
    """

    name = "keda"
    POLL, COOLDOWN, STABILIZATION = 30.0, 300.0, 300.0  # seconds

    def __init__(self, trace: Trace, slots: int, threshold: int = 10) -> None:
        self._slots = slots
        self._threshold = threshold
        self._polled = -math.inf
        self.reasons = [f"ceil(lag / {threshold})"] * len(trace.models)
        self._active = [-math.inf] * len(trace.models)
        self._wants: list[deque[tuple[float, int]]] = [deque() for _ in trace.models]

    def decide(self, looks: Sequence[Look], now: float) -> list[int]:
        have = [look.consumers for look in looks]
        if now < self._polled + self.POLL:
            return have
        self._polled = now
        free = self._slots - sum(have) - sum(look.stopping for look in looks)
        for index, look in enumerate(looks):
            assert look.lag is not None
            wanted = self._wanted(index, look.lag.jobs, have[index], now)
            granted = min(wanted, have[index] + max(free, 0))
            free -= max(granted - have[index], 0)
            have[index] = granted
        return have

    def _wanted(self, index: int, jobs: int, have: int, now: float) -> int:
        if jobs:
            self._active[index] = now
        wants = self._wants[index]
        wants.append((now, math.ceil(jobs / self._threshold)))
        while wants[0][0] < now - self.STABILIZATION:
            wants.popleft()
        most = max(count for _, count in wants)
        if now >= self._active[index] + self.COOLDOWN:
            return 0
        return max(min(most, have), wants[-1][1], 1 if have or jobs else 0)


class AlwaysOn:
    """As many as the busiest five minutes need, for the whole time, as far as there are slots."""

    name = "always on"
    BUSY = 300.0

    def __init__(self, trace: Trace, seconds_per_job: float, slots: int) -> None:
        self.reasons = ["always on"] * len(trace.models)
        width = max(int(self.BUSY / TICK), 1)
        self._fleet = []
        for model in trace.arrivals.sum(axis=2):
            arrived = np.concatenate([[0], np.cumsum(model)])
            width_here = min(width, len(model))
            most = (arrived[width_here:] - arrived[:-width_here]).max() / (width_here * TICK)
            self._fleet.append(max(math.ceil(most * seconds_per_job), 1))
        if (total := sum(self._fleet)) > slots:
            self._fleet = [max(int(count * slots / total), 1) for count in self._fleet]

    def decide(self, _looks: Sequence[Look], _now: float) -> list[int]:
        return list(self._fleet)
