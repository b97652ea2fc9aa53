"""How a worker is: heartbeats on the topic `workers`, and metrics over HTTP."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from contextlib import suppress

import psutil
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from common.errors import LogUnavailable
from common.events import HEARTBEAT_SECONDS, WorkerHeartbeat, WorkerState
from common.exposing import Exposition
from common.job_log import JobLog
from common.text import shortened
from common.topic import WORKERS
from common.wire import HEADERS, encode

MOST_REASON = 4_000  # characters
logger = structlog.get_logger()


class Metrics:
    """What every worker exposes at /metrics. CPU and memory cover parent and child."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        labels = ["model"]
        self.inference = Histogram(
            "inference_duration_seconds",
            "Seconds in the engine",
            labels,
            registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
        ).labels(model)
        self.processed = Counter(
            "processed_messages", "Jobs carried to an end", labels, registry=self.registry
        ).labels(model)
        self.errors = Counter(
            "processing_errors", "Jobs that failed here", labels, registry=self.registry
        ).labels(model)
        self._cpu = Gauge(
            "worker_cpu_usage_percent",
            "CPU of the worker's processes, 100 is one core",
            labels,
            registry=self.registry,
        ).labels(model)
        self._ram = Gauge(
            "worker_ram_usage_percent",
            "Memory of the worker's processes, of the machine's",
            labels,
            registry=self.registry,
        ).labels(model)
        self._processes: dict[int, psutil.Process] = {}
        self.memory = 0  # bytes at the last look, without files that are mapped

    def look(self, *pids: int) -> None:
        """Measure the processes; the first look at one only begins its CPU count."""
        cpu = ram = 0.0
        self.memory = 0
        known: dict[int, psutil.Process] = {}
        for pid in pids:
            try:
                process = self._processes.get(pid) or psutil.Process(pid)
                cpu += process.cpu_percent(interval=None)
                ram += process.memory_percent()
                held = process.memory_info()
                self.memory += held.rss - held.shared
            except psutil.NoSuchProcess:
                continue
            known[pid] = process
        self._processes = known
        self._cpu.set(cpu)
        self._ram.set(ram)


class Reporter:
    """Tells the rest of the system about this worker."""

    def __init__(self, log: JobLog, *, model: str, metrics: Metrics, worker: str = "") -> None:
        """`worker` is its name; without one it makes one up."""
        self._log = log
        self._model = model
        self._host = socket.gethostname()
        self.metrics = metrics
        self.worker = worker or f"{self._host}-{os.getpid()}-{secrets.token_hex(3)}"
        self.device = ""
        self.engine_pid: int | None = None
        self.running: tuple[str, ...] = ()
        self._jobs = 0
        self._busy = 0.0
        self._moved_at = 0.0
        self._news = asyncio.Event()  # the next heartbeat is not to wait
        self._state = WorkerState.LOADING
        self._reason = ""
        self._exposition: Exposition | None = None

    def serve_metrics(self, host: str, port: int) -> None:
        """At `port`, or a free one for 0; heartbeats tell which. Raises SettingsInvalid."""
        self._exposition = Exposition(self.metrics.registry, host=host, port=port)

    async def say(self, state: WorkerState, reason: str = "") -> None:
        """Change the state and tell it. A log that does not answer costs only this heartbeat."""
        self._state, self._reason = state, shortened(reason, MOST_REASON)
        heartbeat = WorkerHeartbeat(
            worker=self.worker,
            model=self._model,
            state=state,
            at=time.time(),
            host=self._host,
            pid=os.getpid(),
            reason=self._reason,
            device=self.device,
            running=self.running,
            metrics_port=self._exposition.port if self._exposition else None,
            jobs=self._jobs,
            busy=self._busy,
            moved_at=self._moved_at,
            memory=self.metrics.memory,
        )
        try:
            await self._log.append(WORKERS, self.worker, encode(heartbeat), HEADERS)
        except LogUnavailable as error:
            logger.warning("heartbeat_not_told", worker=self.worker, error=str(error))

    def worked(self, seconds: float) -> None:
        """One more job has run. The first is told at once, for the scaler to know how long."""
        self._jobs += 1
        self._busy += seconds
        self.moved()
        if self._jobs == 1:
            self._news.set()

    def moved(self) -> None:
        """A job has got further: whatever else waits, this worker does not hang."""
        self._moved_at = time.time()

    async def beat(self) -> None:
        """Go on until the task is canceled."""
        while True:
            self.metrics.look(os.getpid(), *([self.engine_pid] if self.engine_pid else []))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), HEARTBEAT_SECONDS)
            self._news.clear()
            await self.say(self._state, self._reason)

    def close(self) -> None:
        if self._exposition:
            self._exposition.close()
