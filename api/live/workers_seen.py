"""What the workers last said of themselves, by the topic `workers`: the state of each model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from common import topic, wire
from common.events import SILENT_SECONDS, WorkerHeartbeat, WorkerState
from common.following import Follower
from common.job_log import Delivery, JobLog, Start

_LIVE = (WorkerState.LOADING, WorkerState.READY)


class ModelState(StrEnum):
    """How a model is, over all of its workers."""

    READY = "ready"
    LOADING = "loading"
    FAILED = "failed"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class ModelSeen:
    """One model as its workers show it."""

    state: ModelState
    reason: str  # why its jobs wait, in words; empty while it is ready
    workers: tuple[WorkerHeartbeat, ...]


class WorkersSeen:
    """The last heartbeat of each worker, and the last failure of each model."""

    def __init__(self, log: JobLog, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._workers: dict[str, WorkerHeartbeat] = {}
        self._failures: dict[str, WorkerHeartbeat] = {}  # model -> until a worker is ready again
        self._loading: dict[str, float] = {}  # worker -> when it began
        self._cold_starts: dict[str, float] = {}  # model -> seconds, of the last worker
        self._follower = Follower(log, topic.WORKERS, start=Start.EARLIEST, take=self._take)

    def start(self) -> None:
        """Begin to follow the topic."""
        self._follower.start()

    async def close(self) -> None:
        """Stop following it."""
        await self._follower.close()

    def model(self, name: str) -> ModelSeen:
        """How the model is now."""
        oldest = self._clock() - SILENT_SECONDS
        workers = tuple(
            worker
            for worker in self._workers.values()
            if worker.model == name and worker.at >= oldest
        )
        states = {worker.state for worker in workers}
        failure = self._failures.get(name)
        if WorkerState.READY in states:
            return ModelSeen(ModelState.READY, "", workers)
        if WorkerState.LOADING in states:
            again = f"the model is loading again after: {failure.reason}" if failure else None
            return ModelSeen(ModelState.LOADING, again or "the model is loading", workers)
        if failure is not None:
            return ModelSeen(ModelState.FAILED, failure.reason, workers)
        return ModelSeen(ModelState.OFF, "waiting for a consumer", workers)

    def ready(self, name: str) -> int:
        """How many workers of the model are ready."""
        return sum(worker.state is WorkerState.READY for worker in self.model(name).workers)

    def seconds_to_ready(self, name: str) -> float | None:
        """Until a worker of the model is ready, by how long the last one took; None: unknown."""
        seen = self.model(name)
        if seen.state is ModelState.READY:
            return 0.0
        cold_start = self._cold_starts.get(name)
        if cold_start is None or seen.state is ModelState.FAILED:
            return None
        began = [
            self._loading[each.worker] for each in seen.workers if each.worker in self._loading
        ]
        return max(cold_start - (self._clock() - min(began)), 0.0) if began else cold_start

    def see(self, heartbeat: WorkerHeartbeat) -> None:
        """Remember what a worker said."""
        self._time_loading(heartbeat)
        if heartbeat.state is WorkerState.FAILED:
            self._failures[heartbeat.model] = heartbeat
        elif heartbeat.state is WorkerState.READY:
            self._failures.pop(heartbeat.model, None)
        if heartbeat.state in _LIVE:
            self._workers[heartbeat.worker] = heartbeat
        else:
            self._workers.pop(heartbeat.worker, None)
        oldest = self._clock() - SILENT_SECONDS
        for silent in [worker for worker, last in self._workers.items() if last.at < oldest]:
            del self._workers[silent]
            self._loading.pop(silent, None)

    def _time_loading(self, heartbeat: WorkerHeartbeat) -> None:
        if heartbeat.state is WorkerState.LOADING:
            self._loading.setdefault(heartbeat.worker, heartbeat.at)
            return
        began = self._loading.pop(heartbeat.worker, None)
        if began is not None and heartbeat.state is WorkerState.READY:
            self._cold_starts[heartbeat.model] = heartbeat.at - began

    def _take(self, delivery: Delivery) -> None:
        self.see(wire.decode_heartbeat(delivery.value, delivery.headers))
