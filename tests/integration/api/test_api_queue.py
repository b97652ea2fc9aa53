"""What a waiting job is told of its queue."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest

from api.live.queues import Queues
from common import wire
from common.events import JobStarted, WorkerHeartbeat, WorkerState
from common.job_log import Position, open_job_log
from common.topic import WORKERS
from tests.integration.api.running import DEADLINE, Api
from tests.ledger import until

pytestmark = pytest.mark.anyio

MODEL = "darkroom/captioner"


async def beat(api: Api, state: WorkerState, at: float | None = None) -> None:
    heartbeat = WorkerHeartbeat(
        worker="w1", model=MODEL, state=state, at=at or time.time(), host="h", pid=1
    )
    await api.log.append(WORKERS, "w1", wire.encode(heartbeat), wire.HEADERS)


async def etas(api: Api, made: list[Any]) -> list[float | None]:
    """Of waiting jobs, once they are seen to stand one behind the other."""
    async with asyncio.timeout(DEADLINE):
        while True:
            queues = [(await api.get(each))["queue"] for each in made]
            if [queue["position"] for queue in queues] == list(range(len(made))):
                return [queue["eta_seconds"] for queue in queues]
            await asyncio.sleep(0.05)


async def deep(api: Api, jobs: int) -> None:
    """Return once the queue is known to hold so many."""

    async def known() -> bool:
        return api.parts.queues.depth(MODEL) == jobs

    await until(known)


async def measured(api: Api, jpeg: bytes, seconds: float) -> None:
    """One job that took so long, by a worker that is ready."""
    await beat(api, WorkerState.LOADING, time.time() - 7)
    await beat(api, WorkerState.READY)
    made = await api.submit(jpeg)
    await deep(api, 1)
    await api.take(MODEL)
    now = time.time()
    await api.say(JobStarted(job=made["id"], token="t0", at=now - seconds, worker="w1"))
    await api.fail(made["id"], "bad_input", "The PNG is damaged: send it again.")
    await api.ended(made)

    async def known() -> bool:
        return api.parts.queues.drain_seconds(MODEL, 1) is not None

    await until(known)
    await deep(api, 0)


async def test_waiting_jobs_stand_one_behind_the_other(api: Api, jpeg: bytes) -> None:
    made = [await api.submit(jpeg) for _ in range(5)]
    await etas(api, made)
    listed = (await api.client.get("/v1/predictions")).json()["results"]
    assert [each["queue"]["position"] for each in listed] == [4, 3, 2, 1, 0]
    await api.take(MODEL)

    async def taken() -> bool:
        return [(await api.get(each))["queue"]["position"] for each in made] == [0] * 5

    await until(taken)


async def test_the_position_is_told_when_a_job_is_made_among_others(api: Api, jpeg: bytes) -> None:
    """The row does not have it yet: it comes from the log's reply."""
    first = await api.submit(jpeg)
    await etas(api, [first])
    assert (await api.submit(jpeg))["queue"]["position"] == 1


async def test_an_eta_comes_from_the_jobs_that_ended(api: Api, jpeg: bytes) -> None:
    await measured(api, jpeg, seconds=10)
    made = [await api.submit(jpeg) for _ in range(3)]
    first, second, third = await etas(api, made)
    assert first == 0
    assert second == pytest.approx(5, abs=1)  # half of the one that runs
    assert third == pytest.approx(15, abs=2)
    assert api.parts.queues.drain_seconds(MODEL, 30) == pytest.approx(300, rel=0.1)
    await deep(api, 3)


async def test_without_a_worker_the_eta_has_the_cold_start_in_it(api: Api, jpeg: bytes) -> None:
    await measured(api, jpeg, seconds=10)
    await beat(api, WorkerState.STOPPED)
    made = [await api.submit(jpeg) for _ in range(2)]

    async def off() -> bool:
        reason: str = (await api.get(made[0]))["queue"]["reason"]
        return reason == "waiting for a consumer"

    await until(off)
    assert await etas(api, made) == [pytest.approx(7, abs=1), pytest.approx(17, abs=2)]


async def test_nothing_is_promised_of_a_model_that_was_never_seen(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    assert (await api.get(made))["queue"] == {
        "position": 0, "eta_seconds": None, "reason": "waiting for a consumer"
    }  # fmt: skip
    assert api.parts.queues.drain_seconds(MODEL, 1) is None


async def test_a_job_that_has_begun_waits_for_nothing(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    await api.say(JobStarted(job=made["id"], token="t1", at=time.time(), worker="w1"))
    shown = await api.shows(made, "processing")
    assert shown["queue"] == {"position": None, "eta_seconds": None, "reason": ""}


async def test_how_wrong_an_eta_was_is_counted_when_its_job_starts(api: Api, jpeg: bytes) -> None:
    metric = re.compile(rf'^queue_eta_error_seconds_sum{{model="{MODEL}"}} (\S+)', re.M)

    async def errors() -> float:
        found = metric.search((await api.client.get("/metrics")).text)
        return float(found[1]) if found else 0.0

    await measured(api, jpeg, seconds=40)
    before = await errors()
    first, made = await api.submit(jpeg), await api.submit(jpeg)
    assert (await etas(api, [first, made]))[1] == pytest.approx(20, abs=4)
    await api.succeed(made["id"], text="sooner than that")

    async def counted() -> bool:
        return await errors() - before == pytest.approx(20, abs=5)

    await until(counted)


async def test_a_log_that_does_not_answer_leaves_the_position_unknown(
    api: Api, jpeg: bytes
) -> None:
    job = await api.parts.job("local", (await api.submit(jpeg))["id"])
    away = await open_job_log(f"sqlite:///{api.folder}/away.sqlite")
    queues = Queues(away, api.parts.workers, api.parts.metrics)
    queues.place(job.id, Position("jobs.darkroom--captioner.normal", 0, 5))
    await queues.look([job])
    assert queues.queue_of(job).position is not None
    other = Queues(away, api.parts.workers, api.parts.metrics)
    await away.close()
    await other.look([job])
    assert other.queue_of(job).position is None
    assert other.depth(MODEL) is None
    await queues.close()
    await other.close()
