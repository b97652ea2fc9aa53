"""Running a prediction once more: a new one, with lineage to the old."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import update

from api.database.tables import jobs
from api.submit import Submission, new_id
from common.job import JobSpec
from tests.integration.api.running import Api
from tests.ledger import new_job

pytestmark = pytest.mark.anyio

CAPTIONER = "darkroom/captioner"
YESTERDAY = "inputs/local/2020-01-01/ab"


async def retry(api: Api, prediction: Any, **headers: str) -> Any:
    return await api.client.post(f"/v1/predictions/{prediction['id']}/retry", headers=headers)


async def failed(api: Api, jpeg: bytes, **fields: str) -> Any:
    made = await api.submit(jpeg, **fields)
    await api.take(CAPTIONER)
    await api.fail(made["id"], "bad_input", "The JPEG is damaged.")
    return await api.ended(made)


async def test_a_retry_is_a_new_job_that_names_the_old_one(api: Api, jpeg: bytes) -> None:
    old = await failed(
        api, jpeg, prompt="hello", priority="high", labels="a,b", metadata='{"album": 7}'
    )
    reply = await retry(api, old)
    assert reply.status_code == 202
    new = reply.json()
    assert reply.headers["Location"] == new["urls"]["get"]
    assert new["id"] != old["id"]
    assert (new["retry_of"], old["retry_of"]) == (old["id"], None)
    assert (new["status"], new["error"], new["attempt"]) == ("starting", None, 0)
    same = ("model", "version", "input", "priority", "labels", "metadata")
    assert [new[name] for name in same] == [old[name] for name in same]
    assert new["access_link"] != old["access_link"]
    [(job_id, spec)] = await api.take(CAPTIONER)
    assert job_id == new["id"]
    assert spec.parameters == {"prompt": "hello"}
    assert await api.store.get(spec.inputs["image"]) == jpeg
    await api.succeed(new["id"], text="a caption")
    assert (await api.ended(new))["retry_of"] == old["id"]
    assert await api.get(old) == old


async def test_what_succeeded_or_was_canceled_may_be_run_again_too(api: Api, jpeg: bytes) -> None:
    done, canceled = await api.submit(jpeg), await api.submit(jpeg)
    await api.succeed(done["id"], text="a caption")
    await api.ended(done)
    await api.client.post(f"/v1/predictions/{canceled['id']}/cancel")
    for old in (done, canceled):
        assert (await retry(api, old)).json()["retry_of"] == old["id"]


async def test_what_has_not_ended_is_not_run_again(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    reply = await retry(api, made)
    assert reply.status_code == 409
    assert reply.json()["code"] == "not_ended"
    assert "cancel" in reply.json()["detail"]
    assert len((await api.client.get("/v1/predictions")).json()["results"]) == 1


async def test_a_retry_refers_to_todays_bytes_whatever_the_age_of_the_old_ones(
    api: Api, jpeg: bytes
) -> None:
    """What yesterday's sweep takes away afterwards is nothing to it."""
    old = await failed(api, jpeg)
    await api.store.put(YESTERDAY, jpeg, "image/jpeg")
    async with api.database.write() as connection:
        inputs = '{"image":"' + YESTERDAY + '"}'
        await connection.execute(update(jobs).values(inputs=inputs))
    assert (await retry(api, old)).status_code == 202
    await api.store.delete(YESTERDAY)
    [(_, spec)] = await api.take(CAPTIONER)
    assert spec.inputs["image"] != YESTERDAY
    assert await api.store.get(spec.inputs["image"]) == jpeg


@pytest.mark.parametrize("how", ["swept", "removed"])
async def test_what_was_removed_is_gone(api: Api, jpeg: bytes, how: str) -> None:
    old = await failed(api, jpeg)
    if how == "swept":
        for found in [found async for found in api.store.list("inputs/")]:
            await api.store.delete(found.key)
    else:
        async with api.database.write() as connection:
            await connection.execute(update(jobs).values(removed_at=1.0))
    reply = await retry(api, old)
    assert reply.status_code == 410
    assert reply.json()["code"] == "removed"
    assert "send it again" in reply.json()["detail"]


async def test_a_url_is_kept_as_it_is(api: Api) -> None:
    job = new_job(spec=JobSpec(model=CAPTIONER, inputs={"image": "https://example.org/a.jpg"}))
    await api.parts.submitter.accept(job, None)
    await api.take(CAPTIONER)
    await api.fail(job.id, "bad_input", "It is no image.")
    await api.ended({"id": job.id})
    assert (await retry(api, {"id": job.id})).status_code == 202
    [(_, spec)] = await api.take(CAPTIONER)
    assert spec == job.spec


async def test_deadlines_stay_behind_and_webhooks_go_along(api: Api) -> None:
    job = new_job(
        spec=JobSpec(model="darkroom/echo", start_by=9e9),
        cancel_at=9e9,
        webhook="https://example.org/hook",
        webhook_events=("completed",),
    )
    await api.parts.submitter.accept(job, None)
    await api.client.post(f"/v1/predictions/{job.id}/cancel")
    new = await api.parts.job("local", (await retry(api, {"id": job.id})).json()["id"])
    assert (new.spec.start_by, new.cancel_at) == (None, None)
    assert (new.webhook, new.webhook_events) == (job.webhook, job.webhook_events)


async def test_a_key_makes_one_retry_of_each_job(api: Api, jpeg: bytes) -> None:
    old = await failed(api, jpeg)
    key = {"Idempotency-Key": "once"}
    replies = await asyncio.gather(*(retry(api, old, **key) for _ in range(10)))
    assert len({reply.json()["id"] for reply in replies}) == 1
    other = await failed(api, jpeg)
    reply = await retry(api, other, **key)
    assert reply.status_code == 422
    assert reply.json()["code"] == "idempotency_key_reused"


async def test_prefer_wait_shows_the_result_of_a_retry(api: Api, jpeg: bytes) -> None:
    old = await failed(api, jpeg)

    async def consume() -> None:
        [(job_id, _)] = await api.take(CAPTIONER)
        await api.succeed(job_id, text="a caption")

    consuming = asyncio.create_task(consume())
    reply = await retry(api, old, Prefer="wait=15")
    await consuming
    assert reply.status_code == 201
    assert reply.json()["output"] == "a caption"


async def test_a_retry_takes_the_version_that_the_catalogue_has_now(api: Api) -> None:
    old = replace(new_job(spec=JobSpec(model=CAPTIONER)), version="v1")
    await api.parts.submitter.accept(old, None)
    await api.client.post(f"/v1/predictions/{old.id}/cancel")
    reply = await retry(api, {"id": old.id})
    assert (await api.parts.job("local", reply.json()["id"])).version == "v2"


async def test_foreign_and_unknown_predictions_are_not_found(api: Api) -> None:
    echo = api.parts.catalogue["darkroom/echo"]
    theirs = await api.parts.submitter.submit(new_id(), Submission(owner="other", model=echo))
    for id in (theirs.id, "019aa5f0-2c44-7b1e-9d6f-3f0c8a51e7d2", "%00"):
        reply = await retry(api, {"id": id})
        assert reply.status_code == 404
        assert reply.json()["code"] == "unknown_prediction"
