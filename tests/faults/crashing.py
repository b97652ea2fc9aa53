"""Processes that crash by chance under load, are started again, and do so until it was enough.

Two scenes take turns. In `door` the consumers are down: clients, API and sweeper crash among
themselves, and nothing holds up the sweeper, which waits for a recorder that has seen all events.
In `work` all run. The load goes on through both.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from common.crash_points import POINTS
from tests.e2e.stack import PROJECT
from tests.faults.checker import Verdict
from tests.faults.stack import FaultStack
from tests.faults.supervisor import Program

# By chance, each time a process of the role comes by. A place that a process passes for each batch
# or each round gets a higher one than what it passes for each job.
CHANCES: Mapping[str, Mapping[str, float]] = {
    "api": dict.fromkeys([point for point in POINTS if point.startswith("api.")], 0.04)
    | {"api.before_put": 0.15},
    "recorder": {
        "recorder.before_commit": 0.02,
        "recorder.after_commit": 0.02,
        "recorder.after_announcement": 0.02,
        "sweeper.before_append": 0.6,
        "sweeper.after_append": 0.6,
    },
    "notifier": {"notifier.before_post": 0.04, "notifier.after_post": 0.04},
    "consumer": dict.fromkeys([point for point in POINTS if point.startswith("consumer.")], 0.012)
    | {"engine.before_run": 0.012, "engine.after_run": 0.012},
}
HIGHEST = 0.6  # of all chances, so that work goes on
DOOR = tuple(point for point in POINTS if point.startswith(("api.", "sweeper.")))
SETTINGS = {
    "DARKROOM_SWEEP_SECONDS": "1",
    "DARKROOM_SWEEP_AFTER_SECONDS": "3",
    "DARKROOM_MAX_WAITING": "600",  # so that the quiet after the faults has an end
    "DARKROOM_LOG_LEVEL": "warning",
}
ROLES = ("api", "recorder", "notifier", "consumer")
# A crash of an input's own making cannot be told from ours: an attempt that dies five times, or
# an engine that dies three times with the job alone, ends the job, and says so.
BLAMED = ("engine_crashed", "consumer_lost")
MOST_BLAMED = 0.02  # of all jobs; at the chances above three crashes of one job are far rarer


def excused(verdict: Verdict) -> bool:
    """Whether no job failed but those that crashes were blamed on, and these are few."""
    blamed = sum(verdict.ends[code] for code in BLAMED)
    few = blamed <= MOST_BLAMED * verdict.accepted
    return few and not verdict.failures("canceled", *BLAMED)


class Crashing:
    """`wanted` hits of each point; a role's programs are no longer armed with what had them."""

    def __init__(
        self,
        stack: FaultStack,
        *,
        wanted: int,
        models: tuple[str, ...],
        each: int = 2,
        consumers: int = 2,
    ) -> None:
        """`each`: processes of a role; `consumers`: of a model."""
        self.stack, self.models = stack, models
        self._wanted, self._each, self._consumers = wanted, each, consumers
        self._over = False
        self._programs: dict[str, list[Program]] = {role: [] for role in ROLES}
        self._add()
        self._workers = self._programs["consumer"]

    @property
    def hits(self) -> Counter[str]:
        return self.stack.supervisor.hits

    def lacking(self, points: tuple[str, ...] = POINTS) -> dict[str, int]:
        """Hits that are still to come, by point."""
        left = {point: self._wanted - self.hits[point] for point in points}
        return {point: count for point, count in left.items() if count > 0}

    def add_worker(self, program: Program) -> None:
        """One more that is down in the scene `door`, and is never armed."""
        self._workers.append(program)

    def start(self) -> None:
        """Everything but the workers."""
        doors = (program.name for role in ROLES[:-1] for program in self._programs[role])
        self.stack.start(*doors)

    def run(
        self,
        seconds: float,
        *,
        door_seconds: float,
        work_seconds: float,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> float:
        """Until all points had their hits, `seconds` at most. How long it took."""
        began = time.monotonic()
        while self.lacking() and time.monotonic() - began < seconds:
            self._scene(DOOR, door_seconds, meanwhile)
            self._work(run=True)
            left = seconds - (time.monotonic() - began)
            self._scene(POINTS, min(work_seconds, left), meanwhile)
            if self.lacking(DOOR):
                self._work(run=False)
        return time.monotonic() - began

    def calm(self) -> None:
        """The faults end: all that is armed is asked to stop, and is started anew without."""
        self._over = True
        self._work(run=True)
        for programs in self._programs.values():
            for program in programs:
                self.stack.supervisor.terminate(program.name)

    def _scene(
        self, points: tuple[str, ...], seconds: float, meanwhile: Callable[[], None]
    ) -> None:
        deadline = time.monotonic() + seconds
        while self.lacking(points) and time.monotonic() < deadline:
            meanwhile()
            time.sleep(0.2)

    def _work(self, *, run: bool) -> None:
        supervisor = self.stack.supervisor
        for program in self._workers:
            supervisor.hold(program.name, held=not run)
            if run and program.process is None:
                supervisor.start(program.name)
            elif not run:
                supervisor.terminate(program.name)

    def _armed(self, role: str, _start: int) -> str:
        """The fewer points are lacking the likelier each: a process lives about as long as ever."""
        chances = {} if self._over else CHANCES[role]
        left = [point for point in chances if self.hits[point] < self._wanted]
        return ",".join(
            f"{point}:{min(chances[point] * len(chances) / len(left), HIGHEST):.3f}"
            for point in left
        )

    def _add(self) -> None:
        stack = self.stack
        makers = {"api": stack.api, "recorder": stack.recorder, "notifier": stack.notifier}
        for role, make in makers.items():
            armed = partial(self._armed, role)
            for number in range(self._each):
                self._programs[role].append(make(f"{role}-{number}", armed))
        for model in self.models:
            for number in range(self._consumers):
                name = f"consumer-{model.partition('/')[2]}-{number}"
                program = stack.consumer(name, partial(self._armed, "consumer"), model)
                self._programs["consumer"].append(program)


def write_catalogue(folder: Path, count: int) -> tuple[Path, tuple[str, ...]]:
    """A catalogue with so many echo models beside the project's own, and their names.

    Consumers of one model share a group, and a group stands still for the ten seconds after which
    the broker knows that a member is dead. With several, one crash does not wait for another's.
    """
    own = (PROJECT / "model_names.txt").read_text().replace("path=", f"path={PROJECT}/")
    models = tuple(f"crash/echo-{number}" for number in range(count))
    path = folder / "model_names.txt"
    path.write_text(own + "".join(f"{model} task=echo\n" for model in models))
    return path, models
