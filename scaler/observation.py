"""What the policy is shown of each model, and what it answers. Times are seconds on one clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from common.scaling import Rules


class Lag(NamedTuple):
    """Jobs not finished, those being worked on included, by priority."""

    high: int = 0
    normal: int = 0
    low: int = 0

    @property
    def jobs(self) -> int:
        """Of all priorities."""
        return sum(self)


@dataclass(frozen=True, slots=True)
class Look:
    """What one round finds of a model, without what was before."""

    lag: Lag | None  # None: the log did not answer
    done: int | None  # jobs ever finished, by the log's count; it falls when the log was wiped
    consumers: int  # alive and not stopping
    ready: int  # of these; the others still load their model
    stopping: int = 0  # they hold their slots until they have ended
    failed: int = 0  # died since the last look
    seconds_per_job: float | None = None  # in one consumer; None: not measured yet
    cold_start: float = 0.0  # from a consumer's start until it is ready
    moved: float = float("-inf")  # when a job got further last, as a worker told it
    memory: int = 0  # bytes that one consumer holds; 0: not known yet
    alive: Mapping[str, bool] = field(default_factory=dict)  # consumers by name; whether ready


@dataclass(frozen=True, slots=True)
class ModelSeen:
    """One model as the policy sees it: the look, and what is remembered."""

    model: str
    rules: Rules
    lag: Lag | None
    consumers: int
    ready: int
    stopping: int
    seconds_per_job: float | None
    cold_start: float
    arrivals: float  # jobs a second
    idle_since: float  # when it last had work
    unserved_since: float  # since when work has waited without a ready consumer; now if it has not
    served_since: float  # when it was ready; now while it loads, but for half an hour at most
    needed_lately: int = 0  # the most it needed within hold_down
    failures: int = 0  # rounds in a row in which consumers died
    failed_at: float = 0.0
    stuck_since: float | None = None  # since when consumers were ready and no job got further
    memory: int = 0  # bytes that one consumer holds; 0: not known yet
    paused: bool = False  # nothing of it is started or stopped


class Alert(StrEnum):
    """What an operator should look at."""

    POISON = "poison"  # work waits, consumers are ready, and no job gets further
    BREAKER = "breaker"  # its consumers die again and again


@dataclass(frozen=True, slots=True)
class Decision:
    """`consumers` is what there should be from now on; `needed` what its own work asks for."""

    model: str
    consumers: int
    reason: str
    needed: int = 0
    alert: Alert | None = None
