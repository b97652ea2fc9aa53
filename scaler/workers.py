"""What the workers say of themselves, by their heartbeats: who is ready, and how fast they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from common import topic, wire
from common.events import WorkerHeartbeat, WorkerState
from common.following import Follower
from common.job_log import Delivery, JobLog, Start

USUAL_COLD_START = 20.0  # seconds, of a model that was never seen to load
LONGEST_COLD_START = 600.0  # beyond it something was downloaded, which does not happen again
SILENT = 3600.0  # seconds after which a worker is forgotten that did not say that it stops
LATELY = 0.99  # of the most memory that was told of remains after each heartbeat
LATEST = 0.8  # what was measured before weighs so much when a heartbeat tells more


@dataclass(slots=True)
class _Pace:
    """Jobs of a model and the seconds that they took, the latest weighing most."""

    jobs: float = 0.0
    busy: float = 0.0
    cold_start: float | None = None
    moved: float = float("-inf")  # when a job got further last, by our own clock
    memory: int = 0  # bytes of the worker that held most lately


class Workers:
    """The last heartbeat of each worker, and the pace of each model."""

    def __init__(self, log: JobLog, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, WorkerHeartbeat] = {}
        self._heard: dict[str, float] = {}  # worker -> when, by our own clock
        self._loading: dict[str, float] = {}  # worker -> when it began
        self._paces: dict[str, _Pace] = {}
        self._follower = Follower(log, topic.WORKERS, start=Start.EARLIEST, take=self._take)

    def start(self) -> None:
        """Begin to follow the topic; what workers said within its retention comes first."""
        self._follower.start()

    async def close(self) -> None:
        """Stop following it."""
        await self._follower.close()

    def latest(self) -> list[WorkerHeartbeat]:
        """The last heartbeat of each worker that did not say that it stops. From any thread."""
        return list(self._last.values())

    def is_ready(self, worker: str) -> bool:
        """Whether it has its model loaded."""
        last = self._last.get(worker)
        return last is not None and last.state is WorkerState.READY

    def is_busy(self, worker: str) -> bool:
        """Whether it had a job when it was heard of last."""
        last = self._last.get(worker)
        return last is not None and bool(last.running)

    def seconds_per_job(self, model: str) -> float | None:
        """In one consumer; None before one has run a job."""
        pace = self._paces.get(model)
        return pace.busy / pace.jobs if pace and pace.jobs else None

    def cold_start(self, model: str) -> float:
        """Seconds that its last worker took to be ready."""
        pace = self._paces.get(model)
        return USUAL_COLD_START if pace is None or pace.cold_start is None else pace.cold_start

    def moved(self, model: str) -> float:
        """When a job of it got further last, by the clock; long ago if none ever did."""
        pace = self._paces.get(model)
        return float("-inf") if pace is None else pace.moved

    def memory(self, model: str) -> int:
        """Bytes that one of its workers held at most lately; 0 before one has told."""
        pace = self._paces.get(model)
        return 0 if pace is None else pace.memory

    def see(self, heartbeat: WorkerHeartbeat) -> None:
        """Remember what a worker said."""
        worker, now = heartbeat.worker, self._clock()
        before = self._last.get(worker)
        if before is not None and heartbeat.at < before.at:  # the topic is read again
            return
        pace = self._paces.setdefault(heartbeat.model, _Pace())
        jobs = heartbeat.jobs - (before.jobs if before else 0)
        if jobs > 0:
            pace.jobs = pace.jobs * LATEST + jobs
            pace.busy = pace.busy * LATEST + heartbeat.busy - (before.busy if before else 0.0)
        if before is not None and heartbeat.moved_at > before.moved_at:
            pace.moved = now
        if heartbeat.state is WorkerState.READY:
            pace.memory = max(heartbeat.memory, int(pace.memory * LATELY))
        if heartbeat.state is WorkerState.LOADING:
            self._loading.setdefault(worker, heartbeat.at)
        else:
            began = self._loading.pop(worker, None)
            if began is not None and heartbeat.state is WorkerState.READY:
                pace.cold_start = min(max(heartbeat.at - began, 0.0), LONGEST_COLD_START)
        if heartbeat.state in (WorkerState.LOADING, WorkerState.READY):
            self._last[worker], self._heard[worker] = heartbeat, now
        else:
            self._forget(worker)
        for silent in [name for name, heard in self._heard.items() if heard < now - SILENT]:
            self._forget(silent)

    def _forget(self, worker: str) -> None:
        for known in (self._last, self._heard, self._loading):
            known.pop(worker, None)

    def _take(self, delivery: Delivery) -> None:
        self.see(wire.decode_heartbeat(delivery.value, delivery.headers))
