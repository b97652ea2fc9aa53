"""How long a job may wait, and how long it may take, over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from replicate.prediction import Prediction

from api.upkeep.deadlines import Deadlines
from common.events import JobProgress, JobStarted
from tests.integration.api.running import Api

pytestmark = pytest.mark.anyio

ECHO: dict[str, Any] = {"model": "darkroom/echo", "input": {"prompt": "hi"}}


@pytest.fixture
async def clock(api: Api) -> AsyncIterator[None]:
    deadlines = Deadlines(log=api.log, database=api.database)
    running = asyncio.create_task(deadlines.run())
    yield
    running.cancel()
    await asyncio.wait([running])
    await deadlines.close()


def seconds_until(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() - time.time()


async def test_a_start_deadline_is_shown_and_travels_with_the_job(api: Api) -> None:
    reply = await api.client.post("/v1/predictions", json={**ECHO, "start_by": 600})
    assert reply.status_code == 202
    shown = reply.json()["start_by"]
    assert 590 < seconds_until(shown) <= 600
    [(_, spec)] = await api.take("darkroom/echo")
    assert spec.start_by == pytest.approx(datetime.fromisoformat(shown).timestamp(), abs=0.001)


@pytest.mark.usefixtures("clock")
async def test_a_form_says_it_as_a_time_and_the_job_ends_by_it(api: Api, jpeg: bytes) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    made = await api.submit(jpeg, start_by=soon.isoformat())
    ended = await api.ended(made)
    assert (ended["status"], ended["error_code"]) == ("canceled", "deadline_passed")
    assert "start_by" in ended["error"]
    assert -1.0 < seconds_until(ended["completed_at"]) <= 0
    assert ended["started_at"] is None
    link = await api.client.get(ended["access_link"])
    assert (link.status_code, link.json()["code"]) == (410, "deadline_passed")


@pytest.mark.usefixtures("clock")
async def test_cancel_after_ends_a_running_job_and_how_far_it_came_is_shown(api: Api) -> None:
    since = time.time()
    reply = await api.client.post("/v1/predictions", json=ECHO, headers={"Cancel-After": "5s"})
    job = reply.json()["id"]
    await api.say(JobStarted(job=job, token="t", at=time.time(), worker="w"))
    await api.say(JobProgress(job=job, token="t", at=time.time(), fraction=0.4))
    running = await api.shows(reply.json(), "processing")
    assert running["completed_at"] is None
    ended = await api.ended(reply.json())
    assert (ended["status"], ended["error_code"]) == ("canceled", "cancel_after")
    assert 5.0 <= ended["metrics"]["total_time"] < 20.0
    assert time.time() - since < 30.0
    progress = Prediction.Progress.parse(ended["logs"])
    assert progress is not None
    assert (progress.percentage, progress.current, progress.total) == (0.4, 40, 100)


async def test_an_alias_knows_cancel_after_too(api: Api, jpeg: bytes) -> None:
    reply = await api.client.post(
        "/api/diffusion", files={"image": jpeg}, headers={"Cancel-After": "2 fortnights"}
    )
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_cancel_after")


@pytest.mark.parametrize("after", ["4s", "soon", "-1m", "99999d"])
async def test_a_wrong_cancel_after_stores_nothing(api: Api, after: str) -> None:
    reply = await api.client.post("/v1/predictions", json=ECHO, headers={"Cancel-After": after})
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_cancel_after")
    assert "1h30m" in reply.json()["detail"]
    assert await api.nothing_kept()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (-1, "start_by_passed"),
        ("2001-01-01T00:00:00Z", "start_by_passed"),
        ("tomorrow", "invalid_start_by"),
        ([1], "invalid_request"),
    ],
)
async def test_a_wrong_start_by_stores_nothing(api: Api, given: object, code: str) -> None:
    reply = await api.client.post("/v1/predictions", json={**ECHO, "start_by": given})
    assert (reply.status_code, reply.json()["code"]) == (422, code)
    assert await api.nothing_kept()
