"""Queues, slots, cold starts and service times in ticks: what a scaling rule would have led to.

Jobs are counted, not followed, so that a tick costs the same for one job and for a million. The
wait of each job is exact all the same: jobs of a model and priority start in the order in which
they came, so job n waited from the tick in which the curve of arrivals passed n to that in which
the curve of starts did.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.job import Priority
from scaler.observation import Lag, Look
from scaler.simulation.rules import Rule
from scaler.simulation.traces import TICK, Counts, Trace

WEIGHTS = tuple(priority.weight for priority in Priority)
SPREAD = 0.3  # standard deviation of the service time, of its mean
LONGEST_DRAIN = 86_400.0  # seconds after the last arrival


@dataclass(frozen=True, slots=True)
class System:
    """What is the same for every rule. Times are seconds; all models are alike."""

    seconds_per_job: float = 2.0
    cold_start: float = 20.0
    slots: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One model's number of consumers was changed."""

    at: float  # seconds from the trace's beginning
    model: str
    before: int
    after: int
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule led to."""

    rule: str
    trace: str
    jobs: int
    done: int
    device_hours: float
    changes: list[Change]
    hours: float
    waits: NDArray[np.floating[Any]]  # seconds until a job starts: all that there are, rising
    counts: Counts  # jobs of each
    consumers: NDArray[np.int64]  # by tick, all models
    waiting: NDArray[np.int64]  # by tick, all models

    def wait(self, share: float, beyond: float = 0.0) -> float:
        """The wait that this share of the jobs did not pass, as far as it is beyond `beyond`."""
        reached = np.cumsum(self.counts) >= share * self.counts.sum()
        return max(float(self.waits[int(np.argmax(reached))]) - beyond, 0.0)

    def figures(self, cold_start: float) -> dict[str, float | int | str]:
        """What is said of it. Waits are seconds from a job's append until it starts."""
        return {
            "rule": self.rule,
            "wait_p50": self.wait(0.5),
            "wait_p95": self.wait(0.95),
            "p95_beyond_cold_start": self.wait(0.95, cold_start),
            "wait_max": self.wait(1.0),
            "device_hours": self.device_hours,
            "changes_per_hour": len(self.changes) / self.hours,
            "unfinished": self.jobs - self.done,
        }


class _Model:
    """One model's queue and consumers."""

    def __init__(self, system: System, service: NDArray[np.float64]) -> None:
        self.queue = [0, 0, 0]
        self.busy = 0  # of those that are ready
        self.ready = 0
        self.stopping = 0  # told to stop; each has a job to end
        self.done = 0
        self.loading: deque[tuple[int, int]] = deque()  # (ready at this tick, how many)
        self._system = system
        self._service = service
        self._ends = np.zeros(len(service) + 1, np.int64)  # of running jobs, by tick, in a ring
        self._cold_start = max(round(system.cold_start / TICK), 0)

    @property
    def alive(self) -> int:
        """Ready or loading."""
        return self.ready + sum(count for _, count in self.loading)

    @property
    def slots(self) -> int:
        """Those held: those that were told to stop hold theirs until their job has ended."""
        return self.alive + self.stopping

    @property
    def running(self) -> int:
        """Jobs being worked on."""
        return self.busy + self.stopping

    def begin(self, tick: int, arrivals: tuple[int, int, int], chance: np.random.Generator) -> None:
        """Jobs end, consumers are ready, jobs arrive."""
        slot = tick % len(self._ends)
        ended = int(self._ends[slot])
        self._ends[slot] = 0
        of_stopping = ended
        if self.busy:  # nobody knows whose job it was
            of_stopping = int(chance.hypergeometric(self.stopping, self.busy, ended))
        self.stopping -= of_stopping
        self.busy -= ended - of_stopping
        self.done += ended
        while self.loading and self.loading[0][0] <= tick:
            self.ready += self.loading.popleft()[1]
        for priority, count in enumerate(arrivals):
            self.queue[priority] += count

    def look(self) -> Look:
        """As the scaler would see it: running jobs count to the lag, here as of normal priority."""
        high, normal, low = self.queue
        return Look(
            lag=Lag(high, normal + self.running, low),
            done=self.done,
            consumers=self.alive,
            ready=self.ready,
            stopping=self.stopping,
            seconds_per_job=self._system.seconds_per_job,
            cold_start=self._system.cold_start,
        )

    def scale(self, tick: int, wanted: int) -> None:
        """Start consumers, or stop some: those that load first, and then idle ones."""
        change = wanted - self.alive
        if change > 0:
            self.loading.append((tick + self._cold_start, change))
        for _ in range(-change):
            if self.loading:
                at, count = self.loading.pop()
                if count > 1:
                    self.loading.append((at, count - 1))
                continue
            if self.busy == self.ready:
                self.busy -= 1
                self.stopping += 1
            self.ready -= 1

    def work(self, tick: int, chance: np.random.Generator) -> tuple[int, int, int]:
        """Free consumers take what waits, by the weights of the priorities; how many of each."""
        free = min(self.ready - self.busy, sum(self.queue))
        taken = _by_weight(self.queue, free)
        for priority, count in enumerate(taken):
            self.queue[priority] -= count
        if free:
            self.busy += free
            spread = chance.multinomial(free, self._service)
            at = (tick + 1 + np.arange(len(spread))) % len(self._ends)
            self._ends[at] += spread
        return taken


def simulate(trace: Trace, rule: Rule, system: System) -> Outcome:
    """Run the trace, and go on until everything is done, for a day at most."""
    chance = np.random.default_rng(system.seed)
    service = _service(system.seconds_per_job)
    models = [_Model(system, service) for _ in trace.models]
    arriving = trace.arrivals.tolist()
    longest = trace.ticks + int(LONGEST_DRAIN / TICK)
    starts: list[list[tuple[int, int, int]]] = [[] for _ in models]
    consumers: list[int] = []
    waiting: list[int] = []
    changes: list[Change] = []
    tick = 0
    while tick < trace.ticks or (
        tick < longest and any(sum(model.queue) or model.running for model in models)
    ):
        for index, model in enumerate(models):
            arrived = arriving[index][tick] if tick < trace.ticks else (0, 0, 0)
            model.begin(tick, arrived, chance)
        wanted = rule.decide([model.look() for model in models], tick * TICK)
        for index, model in enumerate(models):
            if (before := model.alive) != wanted[index]:
                change = Change(
                    tick * TICK, trace.models[index], before, wanted[index], rule.reasons[index]
                )
                changes.append(change)
                model.scale(tick, wanted[index])
            starts[index].append(model.work(tick, chance))
        consumers.append(sum(model.slots for model in models))
        waiting.append(sum(sum(model.queue) for model in models))
        tick += 1
    waits, counts = _waits(trace, np.array(starts, np.int64))
    return Outcome(
        rule=rule.name,
        trace=trace.name,
        jobs=trace.jobs,
        done=sum(model.done for model in models),
        device_hours=sum(consumers) * TICK / 3600.0,
        changes=changes,
        hours=tick * TICK / 3600.0,
        waits=waits,
        counts=counts,
        consumers=np.array(consumers),
        waiting=np.array(waiting),
    )


def _by_weight(queue: list[int], free: int) -> tuple[int, int, int]:
    """Shares of `free` as smooth weighted round-robin gives them over a tick."""
    if free == sum(queue):
        return queue[0], queue[1], queue[2]
    taken = [0, 0, 0]
    while free:
        open_ = [p for p in range(3) if queue[p] > taken[p]]
        weight = sum(WEIGHTS[p] for p in open_)
        share = [min(free * WEIGHTS[p] // weight, queue[p] - taken[p]) for p in open_]
        if not any(share):
            share = [int(index == 0) for index in range(len(open_))]
        for p, count in zip(open_, share, strict=True):
            taken[p] += count
            free -= count
    return taken[0], taken[1], taken[2]


def _service(seconds: float) -> NDArray[np.float64]:
    """The chance of a job to take 1, 2, 3 … ticks: normal, from one tick to twice the mean."""
    mean = seconds / TICK
    ticks = np.arange(1, max(int(2 * mean), 1) + 1)
    density = np.exp(-0.5 * ((ticks - mean) / max(SPREAD * mean, 0.25)) ** 2)
    chances: NDArray[np.float64] = density / density.sum()
    return chances


def _waits(trace: Trace, starts: Counts) -> tuple[NDArray[np.floating[Any]], Counts]:
    """All lengths of waits, and how many jobs had each, from the curves of arrivals and starts."""
    total = np.zeros(starts.shape[1] + 1, np.int64)
    for arrived, started in zip(trace.arrivals, starts, strict=True):
        for priority in range(arrived.shape[1]):
            came = np.cumsum(arrived[:, priority])
            began = np.cumsum(started[:, priority])
            edges = np.unique(np.concatenate([came, began]))
            edges = edges[(edges > 0) & (edges <= began[-1])]
            jobs = np.diff(np.concatenate([[0], edges]))
            length = np.searchsorted(began, edges) - np.searchsorted(came, edges)
            np.add.at(total, length, jobs)
    lengths = np.flatnonzero(total)
    return lengths * TICK, total[lengths]
