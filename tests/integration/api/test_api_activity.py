"""What the server does now, with a consumer that the test plays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from api.access.keys import Scope
from api.recorder import Recorder
from common import wire
from common.events import JobStarted, WorkerHeartbeat, WorkerState
from common.settings import Settings
from common.topic import WORKERS
from tests.abuse.house import new_key
from tests.integration.api.running import Api, running_api

pytestmark = pytest.mark.anyio

MODEL = "darkroom/captioner"
NOTHING = {"high": 0, "normal": 0, "low": 0}


async def beat(api: Api, *, running: tuple[str, ...] = (), jobs: int = 0) -> None:
    said = WorkerHeartbeat(
        worker="w1", model=MODEL, state=WorkerState.READY, at=time.time(), host="here",
        pid=7, device="cpu", running=running, jobs=jobs,
    )  # fmt: skip
    await api.log.append(WORKERS, "w1", wire.encode(said), wire.HEADERS)


async def activity(api: Api, headers: dict[str, str] | None = None) -> Any:
    reply = await api.client.get("/v1/activity", headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.json()


def of(seen: Any) -> Any:
    return next(model for model in seen["models"] if model["id"] == MODEL)


async def when(api: Api, so: Callable[[Any], bool], **asked: Any) -> Any:
    async with asyncio.timeout(60):
        while True:
            seen = await activity(api, **asked)
            if so(seen):
                return seen
            await asyncio.sleep(0.02)


async def test_a_server_that_does_nothing_says_so(api: Api) -> None:
    seen = await activity(api)
    assert [model["id"] for model in seen["models"]] == [
        "darkroom/echo", MODEL, "darkroom/painter"
    ]  # fmt: skip
    assert (seen["workers"], seen["failures"]) == ([], [])
    assert of(seen) == {
        "id": MODEL,
        "state": "off",
        "reason": "waiting for a consumer",
        "waiting": NOTHING,
        "running": 0,
        "done_last_minute": 0,
        "failed_last_hour": 0,
        "seconds_per_job": None,
        "drain_seconds": 0.0,
    }
    assert seen["since"] <= seen["at"]


async def test_a_job_is_seen_while_it_waits_while_it_runs_and_when_it_is_done(
    api: Api, jpeg: bytes
) -> None:
    made = await api.submit(jpeg)
    await api.submit(jpeg, priority="high")
    seen = await when(api, lambda seen: of(seen)["waiting"] == {**NOTHING, "high": 1, "normal": 1})
    assert of(seen)["drain_seconds"] is None  # nobody knows yet how long a job takes
    await beat(api)
    await api.say(JobStarted(job=made["id"], token="t1", at=time.time(), worker="w1"))
    seen = await when(api, lambda seen: of(seen)["running"] == 1)
    assert seen["workers"][0]["predictions"] == [made["id"]]
    assert (seen["workers"][0]["model"], seen["workers"][0]["running"]) == (MODEL, 1)
    await api.succeed(made["id"], text="a circle")
    seen = await when(api, lambda seen: of(seen)["done_last_minute"] == 1)
    assert (of(seen)["running"], seen["workers"][0]["predictions"]) == (0, [])
    assert of(seen)["seconds_per_job"] > 0
    assert of(seen)["drain_seconds"] >= 0


async def test_a_failure_is_counted_with_its_cause(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    await api.fail(made["id"], "bad_input", "The PNG is damaged.")
    seen = await when(api, lambda seen: bool(seen["failures"]))
    [failure] = seen["failures"]
    assert (failure["model"], failure["cause"], failure["count"]) == (MODEL, "bad_input", 1)
    assert failure["last_prediction"] == made["id"]
    assert of(seen)["failed_last_hour"] == 1


async def test_numbers_are_everyones_and_ids_and_causes_only_ones_own(
    settings: Settings, jpeg: bytes
) -> None:
    async with running_api(settings.model_copy(update={"auth": "on"})) as api:
        recording = asyncio.create_task(Recorder(log=api.log, database=api.database).run())
        owner, other = await new_key(api, Scope.USER), await new_key(api, Scope.USER)
        admin = await new_key(api, Scope.ADMIN)

        async def submit() -> str:
            reply: httpx2.Response = await api.client.post(
                "/v1/predictions", data={"model": MODEL}, files={"image": jpeg}, headers=owner
            )
            return str(reply.json()["id"])

        runs, fails = await submit(), await submit()
        await beat(api)
        await api.say(JobStarted(job=runs, token="t", at=time.time(), worker="w1"))
        await api.fail(fails, "engine_crashed", "It crashed.")
        for headers, ids in ((owner, [runs]), (admin, [runs]), (other, [])):
            seen = await when(
                api,
                lambda seen: of(seen)["running"] == 1 and of(seen)["failed_last_hour"] == 1,
                headers=headers,
            )
            assert seen["workers"][0]["predictions"] == ids
            assert [each["cause"] for each in seen["failures"]] == ["engine_crashed"] * len(ids)
        recording.cancel()
        await asyncio.wait({recording})


async def test_what_waits_is_unknown_while_the_ledger_cannot_be_counted(api: Api) -> None:
    async with api.database.write() as connection:
        await connection.execute(text("ALTER TABLE jobs RENAME TO gone"))
    seen = await when(api, lambda seen: of(seen)["waiting"] is None)
    assert of(seen)["drain_seconds"] is None
    async with api.database.write() as connection:
        await connection.execute(text("ALTER TABLE gone RENAME TO jobs"))
    await when(api, lambda seen: of(seen)["waiting"] == NOTHING)
