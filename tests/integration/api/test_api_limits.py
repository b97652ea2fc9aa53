"""What is let in: requests and jobs of one key, of all, and of one model."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from api.access.admission import Admission
from api.access.keys import Scope, make_key
from api.database import ending, keys
from api.database.ending import End
from common.job import JobState, Priority
from common.settings import Settings
from common.topic import job_topic
from tests.integration.api.running import Api, running_api

pytestmark = pytest.mark.anyio

MODEL = "darkroom/captioner"


@pytest.fixture
def limits() -> dict[str, Any]:
    """Settings that a test replaces."""
    return {}


@pytest.fixture
async def api(settings: Settings, limits: dict[str, Any]) -> AsyncIterator[Api]:
    async with running_api(settings.model_copy(update={"auth": "on", **limits})) as api:
        yield api


async def bearer(api: Api, **fields: Any) -> dict[str, str]:
    key, secret = make_key(scopes=frozenset({Scope.USER}), now=time.time(), **fields)
    async with api.database.write() as connection:
        await keys.add(connection, key)
    return {"Authorization": f"Bearer {secret}"}


async def post(api: Api, headers: dict[str, str], jpeg: bytes, **fields: str) -> httpx2.Response:
    return await api.client.post(
        "/v1/predictions",
        data={"model": MODEL, **fields},
        files={"image": ("a.jpg", jpeg)},
        headers=headers,
    )


async def refused_unread(api: Api, headers: dict[str, str], path: str = "/v1/predictions") -> Any:
    """The refusal of a job whose body nobody read."""
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"{"

    kind = {"Content-Type": "application/json"}
    reply = await api.client.post(path, content=body(), headers={**headers, **kind})
    assert read == 0
    assert reply.status_code == 429, reply.text
    assert int(reply.headers["retry-after"]) > 0
    return reply.json()


@pytest.mark.parametrize(
    "limits", [{"key_requests_per_second": 3, "key_burst_seconds": 2}], ids=[""]
)
async def test_requests_of_a_key_are_limited_with_a_burst_and_not_those_of_others(
    api: Api, limits: dict[str, Any]
) -> None:
    mine, others = await bearer(api, owner="ann"), await bearer(api)
    began = time.monotonic()
    statuses = [(await api.client.get("/v1/models", headers=mine)).status_code for _ in range(6)]
    refused = await refused_unread(api, mine)
    assert time.monotonic() - began < 2, "too slow to say anything of a window of 2 s"
    assert statuses == [200] * 6
    assert refused["code"] == "rate_limited"
    sharing = await bearer(api, owner="ann")
    assert (await api.client.get("/v1/models", headers=sharing)).status_code == 429
    assert (await api.client.get("/v1/models", headers=others)).status_code == 200


@pytest.mark.parametrize("limits", [{"max_waiting_per_key": 2}], ids=[""])
async def test_a_key_with_too_many_waiting_jobs_waits_and_others_do_not(
    api: Api, jpeg: bytes, limits: dict[str, Any]
) -> None:
    mine, others = await bearer(api), await bearer(api)
    made = [(await post(api, mine, jpeg)).json() for _ in range(2)]
    for path in ("/v1/predictions", f"/v1/models/{MODEL}/predictions", "/api/v1/predictions"):
        refused = await refused_unread(api, mine, path)
        assert refused["code"] == "queue_full"
        assert "cancel" in refused["detail"]
    assert (await post(api, others, jpeg)).status_code == 202

    await api.client.post(f"/v1/predictions/{made[0]['id']}/cancel", headers=mine)
    async with asyncio.timeout(60):
        while (await post(api, mine, jpeg)).status_code == 429:
            pass


@pytest.mark.parametrize("limits", [{"max_waiting": 2}], ids=[""])
async def test_a_server_with_too_many_waiting_jobs_takes_nobodys(
    api: Api, jpeg: bytes, limits: dict[str, Any]
) -> None:
    for _ in range(2):
        assert (await post(api, await bearer(api), jpeg)).status_code == 202
    assert (await refused_unread(api, await bearer(api)))["code"] == "queue_full"


async def test_a_model_whose_queue_is_too_long_is_refused_and_nothing_is_stored(
    api: Api, jpeg: bytes
) -> None:
    headers = await bearer(api)
    assert (await post(api, headers, jpeg)).status_code == 202
    settings = api.parts.settings.model_copy(update={"max_wait_seconds": 30.0})
    slow = Admission(settings, api.parts.backlog, drain=lambda _model, jobs: 90.0 * jobs)
    object.__setattr__(api.parts, "admission", slow)
    before = {found.key async for found in api.store.list("")}

    reply = await post(api, headers, jpeg + b"another")
    assert (reply.status_code, reply.json()["code"]) == (429, "queue_full")
    assert reply.headers["retry-after"] == "60"
    assert {found.key async for found in api.store.list("")} == before
    other = await api.client.post(
        "/v1/predictions", json={"model": "darkroom/echo", "input": {}}, headers=headers
    )
    assert other.json().get("code") != "queue_full"


async def test_a_retry_and_a_replay_are_jobs_like_any_other(api: Api, jpeg: bytes) -> None:
    headers = await bearer(api)
    crashed = (await post(api, headers, jpeg)).json()["id"]
    crash = End(state=JobState.FAILED, at=time.time(), error_code="engine_crashed", error="It did.")
    async with api.database.statement() as connection:
        assert await ending.end(connection, crashed, crash) is not None
    await post(api, headers, jpeg)
    paths = [f"/v1/predictions/{crashed}/retry", "/v1/dead-letters/replay"]
    paths.append(f"/v1/dead-letters/{crashed}/replay")
    for limit in ({"max_waiting_per_key": 1}, {"max_wait_seconds": 30.0}):
        settings = api.parts.settings.model_copy(update=limit)
        full = Admission(settings, api.parts.backlog, drain=lambda _model, jobs: 90.0 * jobs)
        object.__setattr__(api.parts, "admission", full)
        for path in paths:
            reply = await api.client.post(path, json={"ids": [crashed]}, headers=headers)
            assert (reply.status_code, reply.json()["code"]) == (429, "queue_full"), path


@pytest.mark.parametrize("limits", [{"key_burst_jobs": 2}], ids=[""])
async def test_beyond_the_burst_a_keys_jobs_go_lower_and_show_as_asked(
    api: Api, jpeg: bytes, limits: dict[str, Any]
) -> None:
    mine, others = await bearer(api), await bearer(api)
    for priority, number in (("high", 5), ("normal", 3)):
        for _ in range(number):
            reply = await post(api, mine, jpeg, priority=priority)
            assert reply.json()["priority"] == priority
    await post(api, others, jpeg)

    expected = {Priority.HIGH: 2, Priority.NORMAL: 2 + 2 + 1, Priority.LOW: 1 + 1}
    assert await lengths(api) == expected


async def lengths(api: Api) -> Counter[Priority]:
    """How many jobs each of the model's topics holds."""
    found: Counter[Priority] = Counter()
    for priority in Priority:
        bounds = await api.log.bounds({job_topic(MODEL, priority): None})
        found[priority] = sum(each.end for each in bounds.values())
    return found
