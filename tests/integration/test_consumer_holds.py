"""A consumer whose job is canceled, or comes too late, at each point of its way; on both stacks."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from common.catalogue import ModelSpec, Task
from common.events import (
    CancelJob,
    JobCanceled,
    JobProgress,
    JobStarted,
    JobSucceeded,
)
from common.job_log import open_job_log
from common.object_store import ObjectInfo, ObjectStore, open_object_store
from common.topic import CONTROL
from common.wire import HEADERS, encode
from tests.integration.test_consumer import ECHO, Bench, bench_of, ended
from tests.ledger import until

pytestmark = pytest.mark.anyio

CRASHER = """
import os, signal, time
from consumers.custom_infer import CustomModel
class Crasher(CustomModel):
    def load(self): pass
    def infer(self, image):
        if image.width == 13:
            time.sleep(2)
            os.kill(os.getpid(), signal.SIGKILL)
        return "well"
"""


class GatedStore(ObjectStore):
    """A real store, whose objects come only while the gate is open."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.gate = asyncio.Event()
        self.gate.set()

    async def get(self, key: str) -> bytes:
        await self.gate.wait()
        return await self._store.get(key)

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        await self._store.put(key, content, content_type)

    async def link(self, key: str, *, expires_in: int) -> str | None:
        return await self._store.link(key, expires_in=expires_in)

    async def delete(self, key: str) -> None:
        await self._store.delete(key)

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        return self._store.list(prefix)


class GatedBench(Bench):
    """A bench whose store has a gate."""

    store: GatedStore

    async def cancel(self, id: str) -> None:
        """As the API does it, and until this consumer has heard of it."""
        await self.log.append(CONTROL, id, encode(CancelJob(job=id, at=time.time())), HEADERS)

        async def heard() -> bool:
            return id in self.consumer._cancellations

        await until(heard)

    async def warm(self) -> None:
        """Its consumer works, and has its partitions."""
        self.start()
        await self.events(await self.submit(prompt="warm"), ended)


@pytest.fixture(params=["embedded", "servers"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GatedBench]:
    log_url, store_url = f"sqlite:///{tmp_path}/log.sqlite", f"file://{tmp_path}/objects"
    if request.param == "servers":
        servers: dict[str, str] = request.getfixturevalue("servers")
        name = "t" + secrets.token_hex(6)
        log_url = f"{servers['DARKROOM_JOB_LOG_URL']}?prefix={name}."
        store_url = servers["DARKROOM_OBJECT_STORE_URL"].replace("s3://darkroom", f"s3://{name}")
    log = await open_job_log(log_url)
    made = GatedBench(ECHO, log, GatedStore(await open_object_store(store_url)))
    try:
        yield made
        await made.end()
    finally:
        await made.engine.close()
        await log.close()


async def test_a_job_canceled_while_it_waits_is_passed_over(bench: GatedBench) -> None:
    await bench.warm()
    running, canceled, after = [await bench.submit(delay=1.0) for _ in range(3)]
    await bench.events(running, lambda event: isinstance(event, JobStarted))
    bench.store.gate.clear()  # a fetch would hang
    await bench.cancel(canceled)
    told = await bench.all_events(lambda event: event.job == after and ended(event))
    assert isinstance(told[-1], JobSucceeded)
    assert canceled not in {event.job for event in told}


async def test_a_job_canceled_during_the_fetch_does_not_reach_the_engine(
    bench: GatedBench,
) -> None:
    await bench.warm()
    bench.store.gate.clear()
    id = await bench.submit(b"no picture: if it ran, it would fail")
    await bench.events(id, lambda event: isinstance(event, JobStarted))
    await bench.cancel(id)
    bench.store.gate.set()
    *_, last = await bench.events(id, ended)
    assert isinstance(last, JobCanceled)
    assert last.code == "canceled"
    assert bench.engine.jobs_run == 1


async def test_a_running_job_stops_and_the_next_one_begins_at_once(bench: GatedBench) -> None:
    await bench.warm()
    long, next_one = await bench.submit(delay=60.0), await bench.submit(prompt="next")
    await bench.events(long, lambda event: isinstance(event, JobProgress))
    canceled = time.time()
    await bench.cancel(long)
    *_, stopped = await bench.events(long, ended)
    *_, succeeded = await bench.events(next_one, ended)
    assert isinstance(stopped, JobCanceled)
    assert isinstance(succeeded, JobSucceeded)
    assert succeeded.at - canceled < 1.0


async def test_a_job_that_comes_after_its_start_by_is_passed_over(bench: GatedBench) -> None:
    await bench.warm()
    late = await bench.submit(start_by=time.time() - 0.1)
    after = await bench.submit(prompt="in time", start_by=time.time() + 600)
    told = await bench.all_events(lambda event: event.job == after and ended(event))
    assert isinstance(told[-1], JobSucceeded)
    assert late not in {event.job for event in told}  # the ledger's clock ends it
    await bench.end()
    assert await bench.lag() == 0


async def test_a_start_by_that_passes_during_the_fetch_costs_no_device_time(
    bench: GatedBench,
) -> None:
    await bench.warm()
    bench.store.gate.clear()
    start_by = time.time() + 3.0
    id = await bench.submit(b"no picture: if it ran, it would fail", start_by=start_by)
    await bench.events(id, lambda event: isinstance(event, JobStarted))

    async def passed() -> bool:
        return time.time() > start_by

    await until(passed)
    bench.store.gate.set()
    *_, last = await bench.events(id, ended)
    assert isinstance(last, JobCanceled)
    assert last.code == "deadline_passed"
    assert bench.engine.jobs_run == 1


async def test_a_crash_is_tried_again_though_its_start_by_has_passed(
    tmp_path: Path, png: Callable[[int], bytes]
) -> None:
    (tmp_path / "crasher.py").write_text(CRASHER)
    model = ModelSpec(name="crasher", task=Task.CUSTOM, path=tmp_path / "crasher.py")
    async with bench_of(model, tmp_path) as bench:
        bench.start()
        await bench.events(await bench.submit(png(5)), ended)
        bad = await bench.submit(png(13), start_by=time.time() + 1.9)
        told = await bench.events(bad, ended)
    kinds = [type(event).__name__ for event in told]
    assert kinds == ["JobStarted", "JobReleased"] * 2 + ["JobStarted", "JobFailed"]
