"""Predictions from their acceptance to their end, over HTTP."""

from __future__ import annotations

import asyncio
import base64
import re
import time

import pytest

from api.submit import Submission, new_id
from common.events import JobStarted
from common.job import JobState
from tests.integration.api.running import Api

pytestmark = pytest.mark.anyio

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
FIELDS = {
    "id", "model", "version", "status", "input", "output", "error", "error_code", "logs",
    "metrics", "created_at", "started_at", "completed_at", "start_by", "priority", "labels",
    "metadata", "group_id", "attempt", "retry_of", "reused", "reused_from", "queue",
    "access_link", "data_removed", "urls",
}  # fmt: skip


async def test_a_form_is_accepted_with_everything_a_client_needs(api: Api, jpeg: bytes) -> None:
    reply = await api.client.post(
        "/v1/predictions",
        data={
            "model": "darkroom/captioner",
            "prompt": "a photo of",
            "max_new_tokens": "12",
            "priority": "high",
            "labels": "one, two",
            "metadata": '{"album": {"page": 7}}',
        },
        files={"image": ("wrong.suffix", jpeg, "text/plain")},
    )
    assert reply.status_code == 202
    made = reply.json()
    assert set(made) == FIELDS
    assert UUID7.fullmatch(made["id"])
    assert reply.headers["Location"] == made["urls"]["get"]
    assert made["status"] == "starting"
    assert made["logs"] == ""
    assert made["output"] is None
    assert made["error"] is None
    assert made["input"]["prompt"] == "a photo of"
    assert made["input"]["max_new_tokens"] == 12
    assert made["labels"] == ["one", "two"]
    assert made["metadata"] == {"album": {"page": 7}}
    assert made["priority"] == "high"
    assert made["queue"] == {
        "position": None, "eta_seconds": None, "reason": "waiting for a consumer"
    }  # fmt: skip
    assert all(link.startswith("http://darkroom.test/v1/") for link in made["urls"].values())
    assert made["access_link"].startswith(f"http://darkroom.test/v1/results/{made['id']}/")
    assert re.fullmatch(r"[0-9a-f]{64}", made["version"])


async def test_the_job_reaches_the_log_and_its_bytes_the_store(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg, prompt="hello", priority="low")
    [(job_id, spec)] = await api.take("darkroom/captioner")
    assert job_id == made["id"]
    assert spec.parameters == {"prompt": "hello"}
    assert spec.priority == "low"
    assert await api.store.get(spec.inputs["image"]) == jpeg
    assert re.fullmatch(
        rf"inputs/local/\d{{4}}-\d\d-\d\d/{job_id}\.\w{{16}}\.[0-9a-f]{{64}}", spec.inputs["image"]
    )


async def test_a_job_is_seen_starting_processing_and_succeeded(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    await api.succeed(made["id"], text="a red circle")
    ended = await api.ended(made)
    assert ended["status"] == "succeeded"
    assert ended["output"] == "a red circle"
    assert ended["logs"] == "ran"
    assert ended["attempt"] == 1
    assert ended["metrics"]["predict_time"] == 0.5
    assert 0 <= ended["metrics"]["queue_time"] <= ended["metrics"]["total_time"]
    assert ended["started_at"].endswith("Z")
    assert ended["completed_at"].endswith("Z")
    assert ended["queue"]["reason"] == ""


async def test_images_made_are_urls_that_give_the_bytes(api: Api, jpeg: bytes) -> None:
    one, several = await api.submit(jpeg), await api.submit(jpeg)
    await api.succeed(one["id"], files=[b"first"])
    await api.succeed(several["id"], files=[b"first", b"second"])
    assert (await api.ended(one))["output"] == one["access_link"] + "/0"
    urls = (await api.ended(several))["output"]
    assert urls == [several["access_link"] + "/0", several["access_link"] + "/1"]
    assert [(await api.client.get(url)).content for url in urls] == [b"first", b"second"]


async def test_a_failure_shows_its_sentence_and_its_code(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    await api.fail(made["id"], "bad_input", "The PNG is damaged: send it again.")
    ended = await api.ended(made)
    assert (ended["status"], ended["error_code"]) == ("failed", "bad_input")
    assert ended["error"] == "The PNG is damaged: send it again."


async def test_json_with_a_data_uri_is_accepted(api: Api, jpeg: bytes) -> None:
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    reply = await api.client.post(
        "/v1/predictions",
        json={"model": "darkroom/captioner", "input": {"image": uri, "temperature": 0.5}},
    )
    assert reply.status_code == 202
    [(_, spec)] = await api.take("darkroom/captioner")
    assert await api.store.get(spec.inputs["image"]) == jpeg


async def test_an_echo_needs_no_image(api: Api) -> None:
    reply = await api.client.post(
        "/v1/predictions", json={"model": "darkroom/echo", "input": {"prompt": "hi"}}
    )
    assert reply.status_code == 202


async def test_the_model_may_stand_in_the_path(api: Api, jpeg: bytes) -> None:
    reply = await api.client.post(
        "/v1/models/darkroom/captioner/predictions", files={"image": ("a.jpg", jpeg)}
    )
    assert reply.status_code == 202
    assert reply.json()["model"] == "darkroom/captioner"


async def test_a_version_alone_finds_its_model(api: Api, jpeg: bytes) -> None:
    model = (await api.client.get("/v1/models/darkroom/captioner")).json()
    hex_id = model["latest_version"]["id"]
    for version in (hex_id, "v2", f"darkroom/captioner:{hex_id}", "darkroom/captioner"):
        reply = await api.client.post(
            "/v1/predictions", data={"version": version}, files={"image": ("a.jpg", jpeg)}
        )
        assert reply.status_code == 202, reply.text
        assert reply.json()["model"] == "darkroom/captioner"
        assert reply.json()["version"] == hex_id


async def test_prefer_wait_answers_with_the_result(api: Api, jpeg: bytes) -> None:
    async def consume() -> None:
        [(job_id, _)] = await api.take("darkroom/captioner")
        await api.succeed(job_id, text="a caption")

    consuming = asyncio.create_task(consume())
    reply = await api.client.post(
        "/v1/predictions",
        data={"model": "darkroom/captioner"},
        files={"image": ("a.jpg", jpeg)},
        headers={"Prefer": "respond-async, wait=15"},
    )
    await consuming
    assert reply.status_code == 201
    assert reply.json()["status"] == "succeeded"
    assert reply.json()["output"] == "a caption"


async def test_a_wait_that_is_too_short_shows_the_job_as_starting(api: Api, jpeg: bytes) -> None:
    """Even where it runs by then: Replicate's client would take `processing` for an end."""

    async def consume() -> None:
        [(job_id, _)] = await api.take("darkroom/captioner")
        await api.say(JobStarted(job=job_id, token="t1", at=time.time(), worker="w1"))

    consuming = asyncio.create_task(consume())
    reply = await api.client.post(
        "/v1/predictions",
        data={"model": "darkroom/captioner"},
        files={"image": ("a.jpg", jpeg)},
        headers={"Prefer": "wait=1"},
    )
    await consuming
    assert reply.status_code == 202
    assert reply.json()["status"] == "starting"
    await api.shows(reply.json(), "processing")


async def test_cancel_ends_a_job_at_once_and_tells_everyone(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    reply = await api.client.post(f"/v1/predictions/{made['id']}/cancel")
    assert reply.status_code == 200
    assert (reply.json()["status"], reply.json()["error_code"]) == ("canceled", "canceled")
    bounds = await api.log.bounds({"control": None, "updates": None})
    assert {place.topic: bound.end for place, bound in bounds.items() if bound.end} == {
        "control": 1,
        "updates": 1,
    }


async def test_cancel_leaves_a_job_that_has_ended_as_it_is(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    await api.succeed(made["id"], text="done")
    ended = await api.ended(made)
    reply = await api.client.post(f"/v1/predictions/{made['id']}/cancel")
    assert reply.status_code == 200
    assert reply.json() == ended


@pytest.mark.parametrize("path", ["/v1/predictions/{}", "/v1/predictions/{}/cancel"])
@pytest.mark.parametrize("id", ["019aa5f0-2c44-7b1e-9d6f-3f0c8a51e7d2", "%00", "x" * 3000])
async def test_an_unknown_id_is_not_found(api: Api, path: str, id: str) -> None:
    method = "POST" if path.endswith("cancel") else "GET"
    reply = await api.client.request(method, path.format(id))
    assert reply.status_code == 404
    assert reply.json()["code"] == "unknown_prediction"


async def test_another_owners_prediction_is_not_found(api: Api, jpeg: bytes) -> None:
    job = await api.parts.submitter.submit(
        new_id(), Submission(owner="other", model=api.parts.catalogue["darkroom/echo"])
    )
    for method, path in (("GET", ""), ("POST", "/cancel")):
        reply = await api.client.request(method, f"/v1/predictions/{job.id}{path}")
        assert reply.status_code == 404
        assert reply.json()["code"] == "unknown_prediction"
    assert (await api.client.get("/v1/predictions")).json()["results"] == []
    assert (await api.parts.job("other", job.id)).state is JobState.STARTING


async def test_the_list_is_filtered_and_newest_first(api: Api, jpeg: bytes) -> None:
    first = await api.submit(jpeg, labels="red")
    second = await api.submit(jpeg, model="darkroom/painter")
    await api.client.post(f"/v1/predictions/{second['id']}/cancel")

    async def ids(**query: str) -> list[str]:
        reply = await api.client.get("/v1/predictions", params=query)
        assert reply.status_code == 200, reply.text
        return [one["id"] for one in reply.json()["results"]]

    assert await ids() == [second["id"], first["id"]]
    assert await ids(status="canceled") == [second["id"]]
    assert await ids(model="darkroom/captioner") == [first["id"]]
    assert await ids(label="red") == [first["id"]]
    assert await ids(label="blue") == []
    assert await ids(label="red", status="canceled") == []
    assert await ids(created_before="2020-01-01T00:00:00Z") == []
    assert await ids(created_after="2020-01-01T00:00:00") == [second["id"], first["id"]]


async def test_pages_of_a_hundred_lead_to_one_another(api: Api) -> None:
    echo = api.parts.catalogue["darkroom/echo"]
    ids = [new_id() for _ in range(205)]
    for id in ids:
        await api.parts.submitter.submit(id, Submission(owner="local", model=echo))
    seen: list[str] = []
    url = "/v1/predictions?model=darkroom%2Fecho"
    pages = []
    while url:
        page = (await api.client.get(url)).json()
        pages.append(page)
        seen += [one["id"] for one in page["results"]]
        url = page["next"]
    assert seen == ids[::-1]
    assert [len(page["results"]) for page in pages] == [100, 100, 5]
    back = (await api.client.get(pages[1]["previous"])).json()
    assert back["results"] == pages[0]["results"]
    assert pages[0]["previous"] is None


@pytest.mark.parametrize(
    ("query", "fix"),
    [
        ("cursor=nonsense", "`next`"),
        ("status=queued", "'starting'"),
        ("created_after=yesterday", "2026-11-21T18:00:00Z"),
        ("model=%00", "remove it"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(api: Api, query: str, fix: str) -> None:
    reply = await api.client.get(f"/v1/predictions?{query}")
    assert reply.status_code == 422
    assert reply.json()["code"] == "invalid_request"
    assert fix in reply.json()["detail"]


async def test_an_unknown_field_lists_the_known_ones(api: Api) -> None:
    for path, known in (("/v1/predictions", "start_by, labels"), ("/v1/webhooks", "url, events")):
        reply = await api.client.post(path, json={"nonsense": 1})
        assert reply.json()["code"] == "invalid_request"
        assert known in reply.json()["detail"]
