"""Answers from an earlier result: when, whose, and for how long."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from api.database.tables import jobs, webhook_deliveries, webhook_endpoints
from api.recorder import Recorder
from api.submit import Submission, new_id
from common import wire
from common.job import JobState
from common.job_log import Start
from common.settings import Settings
from common.topic import UPDATES, job_topics
from tests.integration.api.running import DEADLINE, Api, running_api
from tests.ledger import ledger_url, until

__all__ = ["ledger_url"]

pytestmark = pytest.mark.anyio

CAPTIONER, PAINTER = "darkroom/captioner", "darkroom/painter"


@pytest.fixture
async def api(settings: Settings, ledger_url: str) -> AsyncIterator[Api]:
    """On a ledger of each dialect."""
    async with running_api(settings.model_copy(update={"database_url": ledger_url})) as api:
        recording = asyncio.create_task(Recorder(log=api.log, database=api.database).run())
        yield api
        recording.cancel()
        await asyncio.wait({recording})


async def post(api: Api, image: bytes, model: str = CAPTIONER, **fields: str) -> Any:
    return await api.client.post(
        "/v1/predictions",
        data={"model": model, "reuse": "true", **fields},
        files={"image": ("a.jpg", image)},
    )


async def succeeded(api: Api, image: bytes, model: str = CAPTIONER, **fields: str) -> Any:
    """A prediction that a consumer made, which asked for nothing but its result."""
    made = await api.submit(image, model, **fields)
    if model == PAINTER:
        await api.succeed(made["id"], files=[b"painted"])
    else:
        await api.succeed(made["id"], text="a caption")
    return await api.ended(made)


async def runs(api: Api, model: str = CAPTIONER) -> int:
    """How many jobs of the model reached the log."""
    bounds = await api.log.bounds(dict.fromkeys(job_topics(model), None))
    return sum(partition.end for partition in bounds.values())


async def test_the_same_request_is_answered_by_the_earlier_result(api: Api, jpeg: bytes) -> None:
    first = await succeeded(api, jpeg, prompt="hello")
    reply = await post(api, jpeg, prompt="hello", labels="again", metadata='{"a": 1}')
    assert reply.status_code == 201
    again = reply.json()
    assert again["id"] != first["id"]
    assert (again["status"], again["output"]) == ("succeeded", "a caption")
    assert (again["reused"], again["reused_from"]) == (True, first["id"])
    assert (first["reused"], first["reused_from"]) == (False, None)
    assert again["input"] == first["input"]
    assert again["labels"] == ["again"]
    assert again["metadata"] == {"a": 1}
    assert again["metrics"] == {"queue_time": None, "predict_time": None, "total_time": 0.0}
    assert again["completed_at"] == again["created_at"] > first["completed_at"]
    assert await api.get(again) == again
    assert (await api.client.get(again["access_link"])).text == "a caption"
    labelled = await api.client.get("/v1/predictions", params={"label": "again"})
    assert [one["id"] for one in labelled.json()["results"]] == [again["id"]]
    assert await runs(api) == 1


async def test_a_reused_file_is_behind_the_new_jobs_own_link(api: Api, jpeg: bytes) -> None:
    first = await succeeded(api, jpeg, PAINTER, seed="7")
    again = (await post(api, jpeg, PAINTER, seed="7")).json()
    assert again["output"] == again["access_link"] + "/0" != first["output"]
    assert (await api.client.get(again["output"])).content == b"painted"


async def test_a_default_that_is_said_is_the_same_request(api: Api, jpeg: bytes) -> None:
    first = await succeeded(api, jpeg)
    again = (await post(api, jpeg, temperature="0", max_new_tokens="64")).json()
    assert again["reused_from"] == first["id"]


@pytest.mark.parametrize(
    ("model", "first", "second"),
    [
        (CAPTIONER, {}, {"prompt": "another"}),
        (CAPTIONER, {"temperature": "0.5"}, {"temperature": "0.5"}),
        (PAINTER, {}, {}),
        (PAINTER, {"seed": "1"}, {"seed": "2"}),
        (CAPTIONER, {}, {"reuse": "false"}),
    ],
    ids=["another prompt", "sampled", "no seed", "another seed", "not wanted"],
)
async def test_what_may_differ_is_run(
    api: Api, jpeg: bytes, model: str, first: dict[str, str], second: dict[str, str]
) -> None:
    await succeeded(api, jpeg, model, **first)
    reply = await post(api, jpeg, model, **second)
    assert reply.status_code == 202
    assert (reply.json()["reused"], reply.json()["status"]) == (False, "starting")
    assert await runs(api, model) == 2


async def test_another_image_or_version_is_run(
    api: Api, jpeg: bytes, png: Callable[[int], bytes]
) -> None:
    first = await succeeded(api, jpeg)
    assert (await post(api, png(9))).json()["reused"] is False
    async with api.database.write() as connection:  # as it was asked of another version
        key = update(jobs).where(jobs.c.id == first["id"]).values(reuse_key="of v1")
        await connection.execute(key)
    assert (await post(api, jpeg)).json()["reused"] is False


async def test_only_a_success_that_is_kept_is_reused(api: Api, jpeg: bytes) -> None:
    failed = await api.submit(jpeg)
    await api.fail(failed["id"], "bad_input", "It is damaged.")
    await api.ended(failed)
    assert (await post(api, jpeg)).json()["reused"] is False
    first = await succeeded(api, jpeg)
    async with api.database.write() as connection:
        gone = update(jobs).where(jobs.c.id == first["id"]).values(removed_at=1.0, output=None)
        await connection.execute(gone)
    assert (await post(api, jpeg)).json()["reused"] is False


async def test_nothing_is_reused_across_owners(api: Api) -> None:
    echo = api.parts.catalogue["darkroom/echo"]
    theirs = await api.parts.submitter.submit(new_id(), Submission(owner="other", model=echo))
    await api.succeed(theirs.id, text="secret")

    async def ended() -> bool:
        return (await api.parts.job("other", theirs.id)).state is JobState.SUCCEEDED

    await until(ended)
    wanted = Submission(owner="local", model=echo, reuse=True)
    mine = await api.parts.submitter.submit(new_id(), wanted)
    assert (mine.state, mine.reused_from) == (JobState.STARTING, None)
    again = await api.parts.submitter.submit(
        new_id(), Submission(owner="other", model=echo, reuse=True)
    )
    assert again.reused_from == theirs.id


async def test_a_reused_result_lives_no_longer_than_it_would_have(api: Api, jpeg: bytes) -> None:
    first = await succeeded(api, jpeg)
    again = (await post(api, jpeg)).json()
    third = (await post(api, jpeg)).json()
    async with api.database.read() as connection:
        rows = await connection.execute(select(jobs.c.id, jobs.c.completed_at))
        ended = {row.id: row.completed_at for row in rows}
    assert ended[again["id"]] == ended[third["id"]] == ended[first["id"]]


async def test_the_job_that_made_a_result_is_named_whoever_it_came_through(
    api: Api, jpeg: bytes
) -> None:
    """Its files lie under that job's name."""
    first = await succeeded(api, jpeg, PAINTER, seed="7")
    again = (await post(api, jpeg, PAINTER, seed="7")).json()
    async with api.database.write() as connection:
        gone = update(jobs).where(jobs.c.id == first["id"]).values(removed_at=1.0, output=None)
        await connection.execute(gone)
    third = (await post(api, jpeg, PAINTER, seed="7")).json()
    assert third["reused_from"] == again["reused_from"] == first["id"]
    assert (await api.client.get(third["output"])).content == b"painted"


async def test_deleting_one_of_two_leaves_the_other_its_result(api: Api, jpeg: bytes) -> None:
    first = await succeeded(api, jpeg, PAINTER, seed="7")
    second = (await post(api, jpeg, PAINTER, seed="7")).json()
    third = (await post(api, jpeg, PAINTER, seed="7")).json()
    for gone in (first, second):
        assert (await api.client.delete(f"/v1/predictions/{gone['id']}")).status_code < 300
        assert (await api.client.get(gone["access_link"])).status_code == 410
        assert (await api.client.get(third["output"])).content == b"painted"
        assert (await api.get(third))["input"]["image"].startswith("sha256:")
    assert (await api.client.delete(f"/v1/predictions/{third['id']}")).status_code < 300
    assert [found async for found in api.store.list("outputs/")] == []


async def test_its_end_is_told_like_any_other(api: Api, jpeg: bytes) -> None:
    await succeeded(api, jpeg)
    updates = await api.log.subscribe({UPDATES: 1}, group=None, start=Start.LATEST)
    job_id = str(uuid.uuid4())
    endpoint = {
        "id": "e1",
        "owner": "local",
        "url": "https://example.org/hook",
        "events": '["completed"]',
        "state": "active",
        "reason": "",
        "created_at": time.time(),
    }
    async with api.database.write() as connection:
        await connection.execute(insert(webhook_endpoints), endpoint)
    reply = await api.client.put(
        f"/v1/predictions/{job_id}",
        data={"model": CAPTIONER, "reuse": "true"},
        files={"image": ("a.jpg", jpeg)},
    )
    assert reply.json()["reused"] is True
    async with asyncio.timeout(DEADLINE):
        [delivery] = await updates.receive(1, DEADLINE)
        while delivery.key != job_id:  # the first job's own update may come late
            [delivery] = await updates.receive(1, DEADLINE)
    assert wire.decode_update(delivery.value, delivery.headers).state is JobState.SUCCEEDED
    await updates.close()
    async with api.database.read() as connection:
        told = select(webhook_deliveries.c.event).where(webhook_deliveries.c.job == job_id)
        assert list(await connection.scalars(told)) == ["completed"]


@pytest.mark.parametrize("chosen", [False, True], ids=["key", "id"])
async def test_reuse_and_repetition_go_together(api: Api, jpeg: bytes, chosen: bool) -> None:
    first = await succeeded(api, jpeg)
    id = str(uuid.uuid4())

    async def send() -> Any:
        return await api.client.request(
            "PUT" if chosen else "POST",
            f"/v1/predictions/{id}" if chosen else "/v1/predictions",
            data={"model": CAPTIONER, "reuse": "true"},
            files={"image": ("a.jpg", jpeg)},
            headers={} if chosen else {"Idempotency-Key": "k1"},
        )

    replies = await asyncio.gather(*(send() for _ in range(10)))
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.json()["id"] for reply in replies}) == 1
    assert sum("Idempotent-Replayed" not in reply.headers for reply in replies) == 1
    assert replies[0].json()["reused_from"] == first["id"]
    assert len((await api.client.get("/v1/predictions")).json()["results"]) == 2


async def test_prefer_wait_does_not_wait_for_what_is_there(api: Api, jpeg: bytes) -> None:
    await succeeded(api, jpeg)
    began = time.monotonic()
    reply = await api.client.post(
        "/v1/predictions",
        data={"model": CAPTIONER, "reuse": "true"},
        files={"image": ("a.jpg", jpeg)},
        headers={"Prefer": "wait=15"},
    )
    assert reply.status_code == 201
    assert time.monotonic() - began < 10


async def test_a_setting_turns_it_on_and_a_request_off(settings: Settings, jpeg: bytes) -> None:
    async with running_api(settings.model_copy(update={"reuse": True})) as api:
        recording = asyncio.create_task(Recorder(log=api.log, database=api.database).run())
        await succeeded(api, jpeg)
        plain = await api.client.post(
            "/v1/predictions", data={"model": CAPTIONER}, files={"image": ("a.jpg", jpeg)}
        )
        assert plain.json()["reused"] is True
        title = {"image": base64.b64encode(jpeg).decode()}
        assert (await api.client.post("/api/v1/predictions", json=title)).json() == {
            "title": "a caption"
        }
        assert await runs(api) == 1
        assert (await post(api, jpeg, reuse="false")).json()["reused"] is False
        recording.cancel()
        await asyncio.wait({recording})


async def test_reuse_is_true_or_false(api: Api, jpeg: bytes) -> None:
    reply = await post(api, jpeg, reuse="maybe")
    assert reply.status_code == 400
    assert reply.json()["code"] == "invalid_json"
    number = {"model": CAPTIONER, "reuse": 1}
    reply = await api.client.post("/v1/predictions", json=number)
    assert reply.status_code == 422
    assert reply.json()["code"] == "invalid_request"
    assert "reuse" in reply.json()["detail"]
