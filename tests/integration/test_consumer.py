"""A consumer on the embedded stack: real log, real store, real engine process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest

from common.catalogue import ModelSpec, Task
from common.errors import ModelUnavailable
from common.events import (
    CancelJob,
    JobCanceled,
    JobEvent,
    JobFailed,
    JobProgress,
    JobReleased,
    JobStarted,
    JobSucceeded,
    WorkerHeartbeat,
    WorkerState,
)
from common.guarded_client import GuardedClient
from common.job import JobSpec, Output, Parameter
from common.job_log import JobLog, open_job_log
from common.object_store import ObjectStore, open_object_store
from common.scaling import ScalingEvent
from common.topic import CONTROL, EVENTS, WORKERS, job_groups, job_topic, job_topics
from common.url_guard import UrlGuard
from common.wire import HEADERS, decode_event, decode_heartbeat, encode
from consumers.attempt import Attempt
from consumers.consumer import Consumer, Limits
from consumers.engine_process import EngineProcess
from consumers.fetching import Fetching
from consumers.reporter import Metrics, Reporter

pytestmark = pytest.mark.anyio

MOST_IMAGE_BYTES = 100_000
ECHO = ModelSpec(name="darkroom/echo", task=Task.ECHO)
POISON = """
import os, signal
from pathlib import Path
from consumers.custom_infer import CustomModel
class Poison(CustomModel):
    def load(self): pass
    def infer(self, image):
        if image.width == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        if image.width == 14:
            return image
        if image.width == 15:
            raise ValueError("y" * 2_000_000)
        return "x" * (image.width * 10)
"""


class Bench:
    """A log, a store, and a consumer at work on one model."""

    def __init__(self, model: ModelSpec, log: JobLog, store: ObjectStore) -> None:
        self.model, self.log, self.store = model, log, store
        self.stop = asyncio.Event()
        self.running: asyncio.Task[None] | None = None
        self.reporter: Reporter | None = None
        self.engine = EngineProcess(model, max_pixels=40_000_000)
        self.client = GuardedClient(UrlGuard("127.0.0.1"))
        self._seen: list[JobEvent] = []
        self._numbers = iter(range(1000))

    def start(self, **limits: float) -> None:
        self.engine = EngineProcess(self.model, max_pixels=40_000_000)
        self.stop = asyncio.Event()
        self.reporter = Reporter(self.log, model=self.model.name, metrics=Metrics(self.model.name))
        self.reporter.serve_metrics("127.0.0.1", 0)
        self.consumer = Consumer(
            model=self.model,
            log=self.log,
            store=self.store,
            fetching=Fetching(
                self.store, self.client, most_bytes=MOST_IMAGE_BYTES, pause_seconds=0.01
            ),
            engine=self.engine,
            reporter=self.reporter,
            limits=Limits(**limits),  # type: ignore[arg-type]
        )
        self.running = asyncio.create_task(self.consumer.run(self.stop))

    async def end(self) -> None:
        self.stop.set()
        if self.running:
            await self.running
        await self.engine.close()
        if self.reporter:
            self.reporter.close()
            self.reporter = None

    async def submit(
        self,
        image: bytes | None = None,
        start_by: float | None = None,
        *,
        url: str | None = None,
        **parameters: Parameter,
    ) -> str:
        id = f"job-{next(self._numbers)}"
        inputs = {} if url is None else {"image": url}
        if image is not None:
            inputs["image"] = f"inputs/local/2026-11-21/{id}"
            await self.store.put(inputs["image"], image, "image/png")
        spec = JobSpec(
            model=self.model.name, parameters=parameters, inputs=inputs, start_by=start_by
        )
        topic = job_topic(self.model.name, spec.priority)
        await self.log.append(topic, id, encode(spec), HEADERS)
        return id

    async def events(self, id: str, until: Callable[[JobEvent], bool]) -> list[JobEvent]:
        """What was said of the job, up to its event that `until` waits for."""
        told = await self.all_events(lambda event: event.job == id and until(event))
        return [event for event in told if event.job == id]

    async def all_events(self, until: Callable[[JobEvent], bool]) -> list[JobEvent]:
        """What was said of all jobs, up to the event that `until` waits for."""
        subscription = await self.log.subscribe({EVENTS: 1}, group=None)
        found: list[JobEvent] = []
        deadline = time.monotonic() + 60
        try:
            while time.monotonic() < deadline:
                for delivery in await subscription.receive(100, timeout=0.5):
                    event = decode_event(delivery.value, delivery.headers)
                    assert not isinstance(event, ScalingEvent)
                    found.append(event)
                    if until(found[-1]):
                        return found
        finally:
            await subscription.close()
        raise AssertionError(f"not told within 60 s; told was {found}")

    async def lag(self) -> int:
        bounds = await self.log.bounds(job_groups(self.model.name))
        return sum(b.lag for b in bounds.values())


def ended(event: JobEvent) -> bool:
    return isinstance(event, JobSucceeded | JobFailed | JobCanceled)


@contextlib.asynccontextmanager
async def bench_of(model: ModelSpec, folder: Path) -> AsyncIterator[Bench]:
    log = await open_job_log(f"sqlite:///{folder}/log.sqlite")
    store = await open_object_store(f"file://{folder}/objects")
    bench = Bench(model, log, store)
    try:
        yield bench
        await bench.end()
    finally:
        await bench.engine.close()
        await bench.client.close()
        await log.close()


@pytest.fixture
async def echo(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_of(ECHO, tmp_path) as bench:
        yield bench


@pytest.fixture
async def poison(tmp_path: Path) -> AsyncIterator[Bench]:
    (tmp_path / "poison.py").write_text(POISON)
    model = ModelSpec(name="poison", task=Task.CUSTOM, path=tmp_path / "poison.py")
    async with bench_of(model, tmp_path) as bench:
        yield bench


async def test_a_job_is_started_ended_and_acknowledged(echo: Bench) -> None:
    id = await echo.submit(prompt="hello")
    echo.start()
    started, succeeded = await echo.events(id, ended)
    assert isinstance(started, JobStarted)
    assert isinstance(succeeded, JobSucceeded)
    assert succeeded.output.text == "hello"
    assert succeeded.token == started.token
    await echo.end()
    assert await echo.lag() == 0


async def test_files_lie_under_the_job_and_its_attempt(
    poison: Bench, png: Callable[[int], bytes]
) -> None:
    id = await poison.submit(png(14))
    poison.start()
    *_, succeeded = await poison.events(id, ended)
    assert isinstance(succeeded, JobSucceeded)
    (file,) = succeeded.output.files
    assert file.key.startswith(f"outputs/{id}/{succeeded.token}/0.")
    assert len(await poison.store.get(file.key)) == file.size


async def test_a_long_text_becomes_a_file(poison: Bench, png: Callable[[int], bytes]) -> None:
    id = await poison.submit(png(2_001))
    poison.start()
    *_, succeeded = await poison.events(id, ended)
    assert isinstance(succeeded, JobSucceeded)
    assert succeeded.output.text is None
    (file,) = succeeded.output.files
    assert await poison.store.get(file.key) == b"x" * 20_010


async def test_poison_fails_after_three_crashes_and_the_next_job_succeeds(
    poison: Bench, png: Callable[[int], bytes]
) -> None:
    bad, good = await poison.submit(png(13)), await poison.submit(png(5))
    poison.start()
    events = await poison.events(bad, ended)
    kinds = [type(e).__name__ for e in events]
    assert kinds == ["JobStarted", "JobReleased"] * 2 + ["JobStarted", "JobFailed"]
    assert len({e.token for e in events}) == 3
    assert isinstance(events[-1], JobFailed)
    assert events[-1].code == "engine_crashed"
    *_, succeeded = await poison.events(good, ended)
    assert isinstance(succeeded, JobSucceeded)


async def test_a_bad_picture_fails_its_job_at_the_first_attempt(poison: Bench) -> None:
    id = await poison.submit(b"\x89PNG\r\n\x1a\n and then nothing")
    poison.start()
    events = await poison.events(id, ended)
    assert [type(e) for e in events] == [JobStarted, JobFailed]


async def test_an_error_too_long_for_the_log_is_cut(
    poison: Bench, png: Callable[[int], bytes]
) -> None:
    id = await poison.submit(png(15))
    poison.start()
    *_, failed = await poison.events(id, ended)
    assert isinstance(failed, JobFailed)
    assert 1000 < len(failed.error) <= 4000


async def test_a_missing_input_fails_its_job(echo: Bench) -> None:
    id = await echo.submit(b"gone soon")
    await echo.store.delete(f"inputs/local/2026-11-21/{id}")
    echo.start()
    *_, failed = await echo.events(id, ended)
    assert isinstance(failed, JobFailed)
    assert failed.code == "input_missing"


async def test_an_unreadable_message_fails_its_job_and_is_passed(echo: Bench) -> None:
    topic = next(iter(job_topics(ECHO.name)))
    await echo.log.append(topic, "bad", b"{not json", HEADERS)
    echo.start()
    *_, failed = await echo.events("bad", ended)
    assert isinstance(failed, JobFailed)
    assert failed.code == "message_invalid"
    await echo.end()
    assert await echo.lag() == 0


async def test_a_job_canceled_before_it_began_never_begins(echo: Bench) -> None:
    canceled, after = await echo.submit(prompt="no"), await echo.submit(prompt="yes")
    await echo.log.append(
        CONTROL, canceled, encode(CancelJob(job=canceled, at=time.time())), HEADERS
    )
    echo.start()
    told = await echo.all_events(lambda event: event.job == after and ended(event))
    assert canceled not in {event.job for event in told}


async def test_a_running_job_is_stopped_by_its_cancellation(echo: Bench) -> None:
    id = await echo.submit(delay=60.0)
    echo.start()
    await echo.events(id, lambda event: isinstance(event, JobProgress))
    await echo.log.append(CONTROL, id, encode(CancelJob(job=id, at=time.time())), HEADERS)
    *_, last = await echo.events(id, ended)
    assert isinstance(last, JobCanceled)


async def test_a_job_is_acknowledged_only_after_its_end_was_told(
    echo: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling, may_tell = asyncio.Event(), asyncio.Event()
    succeeded = Attempt.succeeded

    async def held(self: Attempt, output: Output, seconds: float, logs: str) -> None:
        telling.set()
        await may_tell.wait()
        await succeeded(self, output, seconds, logs)

    monkeypatch.setattr(Attempt, "succeeded", held)
    id = await echo.submit(prompt="held")
    echo.start()
    await asyncio.wait_for(telling.wait(), 60)
    assert await echo.lag() == 1
    may_tell.set()
    await echo.events(id, ended)
    await echo.end()
    assert await echo.lag() == 0


async def test_a_stop_finishes_the_running_job(echo: Bench) -> None:
    id = await echo.submit(prompt="done", delay=1.0)
    echo.start(grace_seconds=30)
    await echo.events(id, lambda event: isinstance(event, JobStarted))
    await echo.end()
    events = await echo.events(id, ended)
    assert [type(e) for e in events if not isinstance(e, JobProgress)] == [
        JobStarted,
        JobSucceeded,
    ]
    assert await echo.lag() == 0


async def test_after_the_grace_the_job_is_released_and_runs_elsewhere(echo: Bench) -> None:
    id = await echo.submit(prompt="later", delay=3.0)
    echo.start(grace_seconds=0)
    await echo.events(id, lambda event: isinstance(event, JobStarted))
    await echo.end()
    events = await echo.events(id, lambda event: isinstance(event, JobReleased))
    assert isinstance(events[0], JobStarted)
    assert await echo.lag() == 1
    echo.start()
    *_, succeeded = await echo.events(id, ended)
    assert isinstance(succeeded, JobSucceeded)
    assert succeeded.token != events[0].token


async def test_the_engine_is_recycled_after_so_many_jobs(echo: Bench) -> None:
    ids = [await echo.submit(prompt=str(n)) for n in range(3)]
    echo.start(recycle_jobs=2)
    for id in ids:
        *_, last = await echo.events(id, ended)
        assert isinstance(last, JobSucceeded)
    assert echo.engine.jobs_run == 1


async def test_the_engine_is_recycled_when_it_holds_too_much(echo: Bench) -> None:
    ids = [await echo.submit(prompt=str(n)) for n in range(2)]
    echo.start(recycle_mib=1)
    for id in ids:
        *_, last = await echo.events(id, ended)
        assert isinstance(last, JobSucceeded)
    assert echo.engine.jobs_run == 1


async def test_a_model_that_cannot_load_leaves_its_jobs_and_tells_the_reason(
    tmp_path: Path,
) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('no weights here')\n")
    model = ModelSpec(name="broken", task=Task.CUSTOM, path=tmp_path / "broken.py")
    async with bench_of(model, tmp_path) as bench:
        await bench.submit(prompt="x")
        bench.start()
        assert bench.running is not None
        with pytest.raises(ModelUnavailable):
            await bench.running
        bench.running = None
        assert await bench.lag() == 1
        states = await heartbeats(bench.log)
        assert states[-1].state is WorkerState.FAILED
        assert "no weights here" in states[-1].reason


async def test_a_long_load_goes_on_telling_that_it_loads(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(POISON.replace("pass", "import time; time.sleep(25)", 1))
    model = ModelSpec(name="slow", task=Task.CUSTOM, path=tmp_path / "slow.py")
    async with bench_of(model, tmp_path) as bench:
        bench.start()
        deadline = time.monotonic() + 60
        told: list[WorkerHeartbeat] = []
        while time.monotonic() < deadline and len(told) < 3:
            told = await heartbeats(bench.log)
            await asyncio.sleep(0.5)
        assert [beat.state for beat in told[:3]] == [WorkerState.LOADING] * 3


async def test_the_first_job_is_told_at_once_with_the_seconds_that_it_took(
    echo: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.reporter.HEARTBEAT_SECONDS", 3600.0)
    echo.start()
    await echo.events(await echo.submit(prompt="x", delay=0.2), ended)
    last = (await heartbeats(echo.log))[-1]
    deadline = time.monotonic() + 60
    while last.jobs == 0 and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
        last = (await heartbeats(echo.log))[-1]
    assert (last.jobs, last.state) == (1, WorkerState.READY)
    assert last.busy >= 0.2


async def test_the_five_metrics_stand_where_the_heartbeat_says(echo: Bench) -> None:
    echo.start()
    await echo.events(await echo.submit(prompt="x"), ended)
    port = (await heartbeats(echo.log))[-1].metrics_port
    async with httpx2.AsyncClient(timeout=60, trust_env=False) as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    label = '{model="darkroom/echo"}'
    assert float(values[f"processed_messages_total{label}"]) == 1
    assert float(values[f"processing_errors_total{label}"]) == 0
    assert float(values[f"inference_duration_seconds_count{label}"]) == 1
    assert float(values[f"worker_ram_usage_percent{label}"]) > 0
    assert float(values[f"worker_cpu_usage_percent{label}"]) >= 0


async def heartbeats(log: JobLog) -> list[WorkerHeartbeat]:
    subscription = await log.subscribe({WORKERS: 1}, group=None)
    deliveries = await subscription.receive(100, timeout=5)
    await subscription.close()
    return [decode_heartbeat(d.value, d.headers) for d in deliveries]


async def test_the_benchmark_table_gets_a_row_a_run(echo: Bench, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    id = await echo.submit(prompt="x")
    echo.start(benchmark_file=table)  # type: ignore[arg-type]
    await echo.events(id, ended)
    model, seconds, mib = table.read_text().strip().split(";")
    assert model == ECHO.name
    assert float(seconds) > 0
    assert float(mib) > 1
