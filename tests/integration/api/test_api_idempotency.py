"""Requests sent again: by key or by id, at once or later, the same or another."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from api.database.tables import idempotency_keys
from api.recorder import Recorder
from api.submit import Submission
from common.events import JobStarted
from common.settings import Settings
from common.topic import job_topics
from tests.integration.api.running import Api, running_api
from tests.ledger import ledger_url, until

__all__ = ["ledger_url"]

pytestmark = pytest.mark.anyio

CAPTIONER = "darkroom/captioner"
REPLAYED = "Idempotent-Replayed"


async def post(api: Api, jpeg: bytes, *, key: str | None = "k1", **fields: str) -> Any:
    return await api.client.post(
        "/v1/predictions",
        data={"model": CAPTIONER, **fields},
        files={"image": ("a.jpg", jpeg)},
        headers={} if key is None else {"Idempotency-Key": key},
    )


async def put(api: Api, job_id: str, jpeg: bytes, **fields: str) -> Any:
    return await api.client.put(
        f"/v1/predictions/{job_id}",
        data={"model": CAPTIONER, **fields},
        files={"image": ("a.jpg", jpeg)},
    )


async def made(api: Api) -> list[str]:
    return [one["id"] for one in (await api.client.get("/v1/predictions")).json()["results"]]


async def appended(api: Api) -> int:
    bounds = await api.log.bounds(dict.fromkeys(job_topics(CAPTIONER), None))
    return sum(partition.end for partition in bounds.values())


@pytest.fixture
async def two(settings: Settings, ledger_url: str) -> AsyncIterator[tuple[Api, Api]]:
    """Two API processes' worth over one ledger, of each dialect."""
    shared = settings.model_copy(update={"database_url": ledger_url})
    async with running_api(shared) as first, running_api(shared) as second:
        yield first, second


@pytest.mark.parametrize("chosen", [False, True], ids=["key", "id"])
async def test_fifty_at_once_over_two_processes_make_one_job(
    two: tuple[Api, Api], jpeg: bytes, chosen: bool
) -> None:
    id = str(uuid.uuid4())
    replies = await asyncio.gather(
        *(put(two[i % 2], id, jpeg) if chosen else post(two[i % 2], jpeg) for i in range(50))
    )
    assert {reply.status_code for reply in replies} == {202}
    ids = {reply.json()["id"] for reply in replies}
    assert len(ids) == 1
    assert not chosen or ids == {id}
    assert sum(REPLAYED not in reply.headers for reply in replies) == 1
    assert await made(two[0]) == list(ids)
    assert await appended(two[0]) == 1


async def test_a_request_sent_again_shows_the_same_job(api: Api, jpeg: bytes) -> None:
    first = await post(api, jpeg, prompt="hello")
    again = await post(api, jpeg, prompt="hello")
    assert (first.status_code, again.status_code) == (202, 202)
    assert REPLAYED not in first.headers
    assert again.headers[REPLAYED] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert {**again.json(), "queue": None} == {**first.json(), "queue": None}  # time goes on
    assert await appended(api) == 1


@pytest.mark.parametrize("chosen", [False, True], ids=["key", "id"])
async def test_a_replay_shows_a_running_job_as_starting_and_an_ended_one_as_it_ended(
    api: Api, jpeg: bytes, chosen: bool
) -> None:
    id = str(uuid.uuid4())

    async def send() -> Any:
        return await (put(api, id, jpeg) if chosen else post(api, jpeg))

    first = (await send()).json()
    await api.say(JobStarted(job=first["id"], token="t1", at=time.time(), worker="w1"))
    await api.shows(first, "processing")
    running = await send()
    assert running.status_code == 202
    assert (running.json()["status"], running.json()["started_at"]) == ("starting", None)
    await api.succeed(first["id"], text="a caption")
    ended = await api.ended(first)
    replay = await send()
    assert replay.status_code == 201
    assert replay.headers[REPLAYED] == "true"
    assert replay.json() == ended


async def test_a_replay_waits_for_the_result_when_asked(api: Api, jpeg: bytes) -> None:
    first = (await post(api, jpeg)).json()

    async def send() -> Any:
        return await api.client.post(
            "/v1/predictions",
            data={"model": CAPTIONER},
            files={"image": ("a.jpg", jpeg)},
            headers={"Idempotency-Key": "k1", "Prefer": "wait=15"},
        )

    waiting = [asyncio.create_task(send()) for _ in range(3)]

    async def all_wait() -> bool:
        return len(api.parts.watching._of_job.get(first["id"], ())) == 3

    await until(all_wait)
    await api.succeed(first["id"], text="a caption")
    for reply in await asyncio.gather(*waiting):
        assert reply.status_code == 201
        assert reply.json()["output"] == "a caption"


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "another"},
        {"priority": "high"},
        {"labels": "one"},
        {"metadata": '{"a": 1}'},
        {"model": "darkroom/painter"},
    ],
    ids=lambda fields: next(iter(fields)),
)
@pytest.mark.parametrize("chosen", [False, True], ids=["key", "id"])
async def test_another_body_is_refused(
    api: Api, jpeg: bytes, chosen: bool, fields: dict[str, str]
) -> None:
    id = str(uuid.uuid4())
    first = await (put(api, id, jpeg) if chosen else post(api, jpeg))
    other = await (put(api, id, jpeg, **fields) if chosen else post(api, jpeg, **fields))
    assert other.status_code == 422
    assert other.json()["code"] == ("prediction_id_reused" if chosen else "idempotency_key_reused")
    assert "new" in other.json()["detail"]
    assert await made(api) == [first.json()["id"]]


async def test_another_image_or_another_route_is_refused_and_its_bytes_are_not_kept(
    api: Api, jpeg: bytes, png: Any
) -> None:
    await post(api, jpeg)
    kept = [found.key async for found in api.store.list("")]
    image = await post(api, png(9))
    route = await api.client.post(
        f"/v1/models/{CAPTIONER}/predictions",
        files={"image": ("a.jpg", jpeg)},
        headers={"Idempotency-Key": "k1"},
    )
    assert [reply.json()["code"] for reply in (image, route)] == ["idempotency_key_reused"] * 2
    assert [found.key async for found in api.store.list("")] == kept


async def test_spelling_makes_no_other_request(api: Api, jpeg: bytes) -> None:
    first = await post(api, jpeg, temperature="0.5")
    again = await post(api, jpeg, temperature="0.50")
    assert again.json()["id"] == first.json()["id"]


@pytest.mark.parametrize("chosen", [False, True], ids=["key", "id"])
async def test_a_replay_shows_its_job_after_its_start_by_too(
    api: Api, jpeg: bytes, chosen: bool
) -> None:
    id, moment = str(uuid.uuid4()), datetime.now(UTC) + timedelta(seconds=1.5)

    async def send() -> Any:
        fields = {"start_by": moment.isoformat()}
        return await (put(api, id, jpeg, **fields) if chosen else post(api, jpeg, **fields))

    first = await send()
    assert first.status_code == 202
    await asyncio.sleep((moment - datetime.now(UTC)).total_seconds() + 0.1)
    again = await send()
    assert again.headers[REPLAYED] == "true"
    assert again.json()["id"] == first.json()["id"]


async def test_a_key_of_yesterday_may_be_used_anew(api: Api, jpeg: bytes) -> None:
    first = await post(api, jpeg)
    async with api.database.write() as connection:
        older = idempotency_keys.c.created_at - 24 * 3600
        await connection.execute(update(idempotency_keys).values(created_at=older))
    second = await post(api, jpeg, prompt="another")
    assert second.status_code == 202
    assert second.json()["id"] != first.json()["id"]


async def test_a_refused_request_leaves_its_key_free(api: Api, jpeg: bytes) -> None:
    refused = await post(api, jpeg, priority="urgent")
    assert refused.status_code == 422
    accepted = await post(api, jpeg)
    assert accepted.status_code == 202
    assert REPLAYED not in accepted.headers


@pytest.mark.parametrize("key", ["x" * 256, "", "a\tb"], ids=["too long", "empty", "tab"])
async def test_a_key_that_is_none_is_refused(api: Api, jpeg: bytes, key: str) -> None:
    reply = await post(api, jpeg, key=key)
    assert reply.status_code == 422
    assert reply.json()["code"] == "invalid_idempotency_key"
    assert "255" in reply.json()["detail"]
    assert await api.nothing_kept()
    assert (await post(api, jpeg, key="x" * 255)).status_code == 202


async def test_the_image_alias_takes_keys_too(api: Api, jpeg: bytes) -> None:
    async def send() -> Any:
        return await api.client.post(
            "/api/diffusion", files={"image": ("a.jpg", jpeg)}, headers={"Idempotency-Key": "k1"}
        )

    first, again = await send(), await send()
    assert again.json() == first.json()
    assert again.headers[REPLAYED] == "true"
    assert len(await made(api)) == 1


@pytest.mark.parametrize("id", ["7", "019AA5F0-2C44-7B1E-9D6F-3F0C8A51E7D2", "%00", "x" * 3000])
async def test_an_id_that_is_no_uuid_is_refused(api: Api, jpeg: bytes, id: str) -> None:
    reply = await put(api, id, jpeg)
    assert reply.status_code == 422
    assert reply.json()["code"] == "invalid_prediction_id"
    assert await api.nothing_kept()


async def test_an_id_that_another_owner_uses_is_not_found(api: Api, jpeg: bytes) -> None:
    id = str(uuid.uuid4())
    echo = api.parts.catalogue["darkroom/echo"]
    await api.parts.submitter.submit(id, Submission(owner="other", model=echo))
    reply = await put(api, id, jpeg)
    assert reply.status_code == 404
    assert reply.json()["code"] == "unknown_prediction"
    assert [found async for found in api.store.list("")] == []


async def test_a_chosen_id_runs_as_any_other(
    settings: Settings, jpeg: bytes, ledger_url: str
) -> None:
    shared = settings.model_copy(update={"database_url": ledger_url})
    async with running_api(shared) as api:
        recording = asyncio.create_task(Recorder(log=api.log, database=api.database).run())
        id = str(uuid.uuid4())
        first = await put(api, id, jpeg)
        assert first.status_code == 202
        assert first.json()["id"] == id
        assert first.headers["Location"] == f"http://darkroom.test/v1/predictions/{id}"
        [(job_id, _)] = await api.take(CAPTIONER)
        await api.succeed(job_id, text="a caption")
        assert (await api.ended(first.json()))["output"] == "a caption"
        recording.cancel()
        await asyncio.wait({recording})
