"""The consumer: receive -> fetch -> run -> store -> tell -> acknowledge. In that order.

This process talks to the log and the store; the model lives in a child (engine_process.py).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from common.benchmark import benchmark
from common.catalogue import ModelSpec
from common.crash_points import crash_point
from common.errors import (
    DarkroomError,
    EngineCrashed,
    LogUnavailable,
    WireInvalid,
)
from common.events import DEADLINE_PASSED, WorkerState
from common.job import JobSpec
from common.job_log import Delivery, JobLog, Subscription
from common.object_store import ObjectStore
from common.outage import until_available
from common.topic import consumer_group, job_topics
from common.wire import decode_spec
from consumers.attempt import Attempt
from consumers.cancellations import Cancellations
from consumers.engine_process import EngineProcess
from consumers.engines.base import (
    EngineInput,
    EngineOutput,
    EngineRefusal,
    EngineResult,
    EngineStop,
)
from consumers.fetching import Fetching
from consumers.outputs import store_output
from consumers.reporter import Reporter
from consumers.retry import GiveUp, decide

RECEIVE_SECONDS = 0.5  # so that a stop is noticed
RELEASE_SECONDS = 5.0  # for telling that an attempt was given up at the end of the grace

T = TypeVar("T")

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """When to recycle the engine, and how long a stop may take. Zero means never recycle."""

    recycle_jobs: int = 0
    recycle_mib: int = 0
    grace_seconds: float = 30.0
    benchmark_file: Path | None = None


class Consumer:
    """Carries jobs of one model, one at a time; the end of one overlaps the next."""

    def __init__(
        self,
        *,
        model: ModelSpec,
        log: JobLog,
        store: ObjectStore,
        fetching: Fetching,
        engine: EngineProcess,
        reporter: Reporter,
        limits: Limits,
    ) -> None:
        self._model = model
        self._log = log
        self._store = store
        self._fetching = fetching
        self._engine = engine
        self._reporter = reporter
        self._limits = limits
        self._cancellations = Cancellations(log, self._stop_run)
        self._ending: asyncio.Task[None] | None = None
        self._background: list[asyncio.Task[None]] = []  # they go on until they are canceled
        self._run_engine = benchmark(limits.benchmark_file, model.name, lambda: engine.memory_mib)(
            engine.run
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises ModelUnavailable; the jobs then wait."""
        await self._reporter.say(WorkerState.LOADING)
        self._background.append(asyncio.create_task(self._reporter.beat()))
        opening = asyncio.create_task(self._open())
        try:
            await self._wait(opening, stop, grace_seconds=0)
            if not opening.cancelled():
                await self._work(opening.result(), stop)
        finally:
            for task in self._background:
                task.cancel()
            await asyncio.wait(self._background)
            if not opening.cancelled() and opening.exception() is None:
                await opening.result().close()

    async def _open(self) -> Subscription:
        """The model first, so that no job is held while it loads. Raises ModelUnavailable."""
        await self._ready_engine()
        control = await until_available(self._cancellations.catch_up)
        self._background.append(asyncio.create_task(self._cancellations.follow(control)))
        subscription = await until_available(
            self._log.subscribe,
            job_topics(self._model.name),
            group=consumer_group(self._model.name),
            capacity=2,
        )
        await self._reporter.say(WorkerState.READY)
        return subscription

    async def _work(self, subscription: Subscription, stop: asyncio.Event) -> None:
        grace = self._limits.grace_seconds
        while not stop.is_set():
            for task in self._background:
                if task.done():
                    task.result()  # it never ends by itself: without it this consumer is half dead
            for delivery in await self._receive(subscription):
                crash_point("consumer.received")
                carrying = asyncio.create_task(self._carry(delivery, subscription))
                await self._wait(carrying, stop, grace_seconds=grace)
        if self._ending:
            await self._wait(self._ending, stop, grace_seconds=grace)

    async def _receive(self, subscription: Subscription) -> list[Delivery]:
        """None while the log is away; the caller looks at its stop in between."""
        try:
            return await subscription.receive(1, RECEIVE_SECONDS)
        except LogUnavailable as error:
            logger.warning("receive_waits", error=str(error))
            await asyncio.sleep(RECEIVE_SECONDS)
            return []

    async def _wait(
        self, work: asyncio.Task[T], stop: asyncio.Event, *, grace_seconds: float
    ) -> None:
        """For the work, or for the grace period once a stop was asked for; then cancel it."""
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([work], timeout=0 if work.done() else grace_seconds)
        finally:
            stopping.cancel()
        work.cancel()
        await asyncio.wait([work])
        if not work.cancelled() and (error := work.exception()):
            raise error

    async def _carry(self, delivery: Delivery, subscription: Subscription) -> None:
        """One job, from its delivery to its end."""
        job, attempts, crashes = delivery.key, 0, 0
        while job not in self._cancellations:
            await self._ready_engine()
            attempt, attempts = Attempt(self._log, job), attempts + 1
            try:
                spec = decode_spec(delivery.value, delivery.headers)
                if attempts == 1 and _is_too_late(spec):
                    break  # the ledger's clock ends it; what did start in time is appended again
                result, seconds = await self._run(attempt, spec, first=attempts == 1)
                await self._end(delivery, subscription, attempt, result, seconds)
                return
            except WireInvalid as error:
                await attempt.failed(
                    "message_invalid", f"The job's message cannot be read: {error}"
                )
                break
            except DarkroomError as error:
                crashes += isinstance(error, EngineCrashed)
                logger.warning("run_failed", job_id=job, attempt=attempt.token, error=str(error))
                match decide(error, crashes):
                    case GiveUp(code=code, error=reason):
                        await self._tell_failure(attempt, code, reason)
                        break
                    case _:
                        await attempt.released(str(error))
                        continue
            except asyncio.CancelledError:
                await self._give_back(attempt)
                raise
        await until_available(subscription.acknowledge, delivery)

    async def _ready_engine(self) -> None:
        """Loaded, and not older than the limits allow. Raises ModelUnavailable."""
        engine, limits = self._engine, self._limits
        old = 0 < limits.recycle_jobs <= engine.jobs_run
        large = 0 < limits.recycle_mib <= engine.memory_mib
        if engine.pid is not None and not old and not large:
            return
        if engine.pid is not None:
            logger.info("engine_recycled", jobs=engine.jobs_run, mib=engine.memory_mib)
        self._reporter.engine_pid = None
        await engine.close()
        try:
            await engine.start()
        except DarkroomError as error:
            await self._reporter.say(WorkerState.FAILED, str(error))
            raise
        self._reporter.device, self._reporter.engine_pid = engine.device, engine.pid

    async def _run(
        self, attempt: Attempt, spec: JobSpec, *, first: bool
    ) -> tuple[EngineResult, float]:
        """The engine's result, and how many seconds the engine took."""
        at = time.perf_counter()
        began, inputs = await asyncio.gather(
            attempt.started(self._reporter.worker),
            self._fetching.fetch(spec),
            return_exceptions=True,
        )
        for outcome in (began, inputs):
            if isinstance(outcome, BaseException):
                raise outcome
        assert isinstance(inputs, dict)
        crash_point("consumer.fetched")
        if attempt.job in self._cancellations:
            return EngineStop(), 0.0
        if first and _is_too_late(spec):
            return EngineStop(code=DEADLINE_PASSED), 0.0
        item = EngineInput(id=attempt.job, parameters=spec.parameters, inputs=inputs)
        self._reporter.running = (attempt.job,)
        since = time.perf_counter()
        try:
            results = await self._run_engine([item], partial(self._further, attempt))
        finally:
            self._reporter.running = ()
        seconds = time.perf_counter() - since
        self._reporter.metrics.inference.observe(seconds)
        self._reporter.worked(time.perf_counter() - at)
        crash_point("consumer.ran")
        return results[0], seconds

    def _further(self, attempt: Attempt, _: str, fraction: float) -> None:
        self._reporter.moved()
        attempt.progress(fraction)

    async def _end(
        self,
        delivery: Delivery,
        subscription: Subscription,
        attempt: Attempt,
        result: EngineResult,
        seconds: float,
    ) -> None:
        """Store, tell and acknowledge, while the next job runs already."""

        async def end() -> None:
            await self._tell(attempt, result, seconds)
            crash_point("consumer.told")
            await until_available(subscription.acknowledge, delivery)
            crash_point("consumer.acknowledged")

        if self._ending:
            await asyncio.wait([self._ending])  # being canceled here must not cancel that one
            self._ending.result()
        self._ending = asyncio.create_task(end())

    async def _tell(self, attempt: Attempt, result: EngineResult, seconds: float) -> None:
        match result:
            case EngineOutput():
                output = await store_output(self._store, attempt, result)
                crash_point("consumer.stored")
                await attempt.succeeded(output, seconds, result.logs)
                self._reporter.metrics.processed.inc()
            case EngineRefusal(code=code, error=error):
                await self._tell_failure(attempt, code, error)
            case EngineStop(code=code):
                await attempt.canceled(code)

    async def _tell_failure(self, attempt: Attempt, code: str, error: str) -> None:
        await attempt.failed(code, error)
        self._reporter.metrics.processed.inc()
        self._reporter.metrics.errors.inc()

    async def _give_back(self, attempt: Attempt) -> None:
        """The grace is over: another consumer will have the job."""
        await self._engine.close()
        try:
            await asyncio.wait_for(attempt.released("shutdown"), RELEASE_SECONDS)
        except TimeoutError:
            logger.warning("release_not_told", job_id=attempt.job, attempt=attempt.token)

    async def _stop_run(self, job: str) -> None:
        if job in self._reporter.running:
            with suppress(EngineCrashed):  # whoever runs the job hears of it
                await self._engine.cancel(job)


def _is_too_late(spec: JobSpec) -> bool:
    return spec.start_by is not None and spec.start_by <= time.time()
