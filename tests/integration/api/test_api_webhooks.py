"""Registered webhooks, their secrets and deliveries, as their owner handles them over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from api.database import ending
from api.database.ending import End
from common.job import JobState, Output
from tests.integration.api.running import Api
from tests.ledger import new_job, until
from tests.webhooks import Answer, Receiver, new_endpoint, notifying

pytestmark = pytest.mark.anyio

HOOK = "https://hooks.example.org/darkroom"
SUCCESS = End(state=JobState.SUCCEEDED, at=9.0, output=Output(text="a ring"))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver(lambda path: Answer(500 if "broken" in path else 204)) as running:
        yield running


async def register(api: Api, url: str = HOOK, **fields: object) -> Any:
    reply = await api.client.post("/v1/webhooks", json={"url": url, **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()


async def ended_job(api: Api, **fields: Any) -> str:
    job = new_job(**fields)
    await api.parts.submitter._accepting.accept(job)
    async with api.database.write() as connection:
        assert await ending.end(connection, job.id, SUCCESS) is not None
    return job.id


async def get(api: Api, path: str, status: int = 200) -> Any:
    reply = await api.client.get(path)
    assert reply.status_code == status, reply.text
    return reply.json()


async def post(api: Api, path: str, status: int = 200, **body: object) -> Any:
    reply = await api.client.post(path, json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


async def attempted(api: Api, delivery: str, count: int = 1) -> Any:
    """The delivery once so many attempts were made."""
    async with asyncio.timeout(60):
        while True:
            shown = await get(api, f"/v1/webhooks/deliveries/{delivery}")
            if shown["attempts"] >= count:
                return shown
            await asyncio.sleep(0.02)


async def test_a_webhook_is_registered_and_its_secret_shown_once(api: Api) -> None:
    made = await register(api, events=["start", "completed"])
    assert made["secret"].startswith("whsec_")
    shown = await get(api, f"/v1/webhooks/{made['id']}")
    assert shown == {name: made[name] for name in made if name != "secret"}
    assert (shown["url"], shown["events"], shown["state"]) == (
        HOOK,
        ["start", "completed"],
        "active",
    )
    listed = await get(api, "/v1/webhooks")
    assert listed == {"next": None, "previous": None, "results": [shown]}
    assert (await register(api))["events"] == ["completed"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"url": "http://10.0.0.1/"}, "invalid_webhook"),
        ({"url": "hooks"}, "invalid_webhook"),
        ({"url": HOOK, "events": ["ended"]}, "unknown_event"),
        ({}, "invalid_request"),
        ({"url": HOOK, "secret": "whsec_mine"}, "invalid_request"),
    ],
)
async def test_a_webhook_that_makes_no_sense_is_refused(
    api: Api, body: dict[str, object], code: str
) -> None:
    reply = await api.client.post("/v1/webhooks", json=body)
    assert (reply.status_code, reply.json()["code"]) == (422, code)
    assert (await get(api, "/v1/webhooks"))["results"] == []


async def test_the_twenty_first_webhook_is_refused(api: Api) -> None:
    for _ in range(20):
        await register(api)
    reply = await api.client.post("/v1/webhooks", json={"url": HOOK})
    assert (reply.status_code, reply.json()["code"]) == (422, "too_many_webhooks")


async def test_foreign_and_unknown_webhooks_are_404(api: Api) -> None:
    await new_endpoint(api.database, "foreign", owner="somebody")
    for id in ("foreign", "nobody", "%00"):
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/pause"),
            ("POST", "/resume"),
            ("POST", "/rotate"),
            ("POST", "/test"),
        ):
            reply = await api.client.request(method, f"/v1/webhooks/{id}{path}")
            assert (reply.status_code, reply.json()["code"]) == (404, "unknown_webhook")


async def test_a_test_send_reaches_the_receiver_signed(api: Api, receiver: Receiver) -> None:
    made = await register(api, receiver.url + "/hook")
    async with notifying(api.database, api.log):
        sent = await post(api, f"/v1/webhooks/{made['id']}/test", 202)
        [received] = await receiver.of("/hook")
        shown = await attempted(api, sent["id"])
    assert received.verified(made["secret"])["type"] == "test"
    assert received.headers["webhook-id"] == sent["id"]
    assert (shown["state"], shown["history"][0]["code"]) == ("delivered", 204)


async def test_a_rotated_secret_signs_beside_the_old_one(api: Api, receiver: Receiver) -> None:
    made = await register(api, receiver.url + "/hook")
    rotated = await post(api, f"/v1/webhooks/{made['id']}/rotate", overlap_seconds=60)
    async with notifying(api.database, api.log):
        await post(api, f"/v1/webhooks/{made['id']}/test", 202)
        [received] = await receiver.of("/hook")
    assert received.verified(made["secret"]) == received.verified(rotated["key"])
    for wrong in (-1, 1e9):
        reply = await api.client.post(
            f"/v1/webhooks/{made['id']}/rotate", json={"overlap_seconds": wrong}
        )
        assert reply.status_code == 422


async def test_a_paused_webhook_hears_nothing_until_it_is_resumed(
    api: Api, receiver: Receiver
) -> None:
    made = await register(api, receiver.url + "/hook")
    waiting = await ended_job(api)
    assert (await post(api, f"/v1/webhooks/{made['id']}/pause"))["state"] == "paused"
    assert (await api.client.post(f"/v1/webhooks/{made['id']}/test")).status_code == 409
    await ended_job(api)
    async with notifying(api.database, api.log):
        assert (await post(api, f"/v1/webhooks/{made['id']}/resume"))["state"] == "active"
        later = await ended_job(api)
        told = await receiver.of("/hook", 2)
    assert {json.loads(each.body)["id"] for each in told} == {waiting, later}


async def test_a_deleted_webhook_is_gone_with_its_deliveries(api: Api) -> None:
    made = await register(api)
    await ended_job(api)
    assert len((await get(api, "/v1/webhooks/deliveries"))["results"]) == 1
    assert (await api.client.delete(f"/v1/webhooks/{made['id']}")).status_code == 204
    await get(api, f"/v1/webhooks/{made['id']}", 404)
    assert (await get(api, "/v1/webhooks/deliveries"))["results"] == []
    await ended_job(api)
    assert (await get(api, "/v1/webhooks/deliveries"))["results"] == []


async def test_the_default_secret_is_read_as_replicates_clients_do_and_verifies(
    api: Api, receiver: Receiver
) -> None:
    key = (await get(api, "/v1/webhooks/default/secret"))["key"]
    assert key.split("_")[0] == "whsec"
    assert len(key.split("_")) == 2
    assert (await get(api, "/v1/webhooks/default/secret"))["key"] == key
    await ended_job(api, webhook=receiver.url + "/own")
    new = (await post(api, "/v1/webhooks/default/secret/rotate"))["key"]
    assert (await get(api, "/v1/webhooks/default/secret"))["key"] == new != key
    async with notifying(api.database, api.log):
        [received] = await receiver.of("/own")
    assert received.verified(key) == received.verified(new)


async def test_readers_of_the_default_secret_that_race_get_the_same(api: Api) -> None:
    keys = await asyncio.gather(*(get(api, "/v1/webhooks/default/secret") for _ in range(10)))
    assert len({each["key"] for each in keys}) == 1


async def test_deliveries_are_listed_by_filters_and_show_their_attempts(
    api: Api, receiver: Receiver
) -> None:
    good = await register(api, receiver.url + "/good")
    bad = await register(api, receiver.url + "/broken")
    job = await ended_job(api)
    failed, sent = f"{job}_completed_{bad['id']}", f"{job}_completed_{good['id']}"
    async with notifying(api.database, api.log):
        shown = await attempted(api, failed)
        await attempted(api, sent)

    async def ids(**query: str) -> list[str]:
        reply = await api.client.get("/v1/webhooks/deliveries", params=query)
        assert reply.status_code == 200, reply.text
        return sorted(each["id"] for each in reply.json()["results"])

    assert [(each["number"], each["code"]) for each in shown["history"]] == [(1, 500)]
    assert await ids() == sorted([failed, sent])
    assert await ids(state="delivered") == [sent]
    assert await ids(webhook=bad["id"]) == [failed]
    assert await ids(prediction=job, event="completed") == sorted([failed, sent])
    assert await ids(event="start") == []
    assert await ids(created_before="2026-01-01T00:00:00Z") == []
    assert await ids(created_after="2026-01-01") == sorted([failed, sent])


async def test_pages_of_deliveries_hold_each_once(api: Api) -> None:
    await register(api)
    made = {f"{await ended_job(api)}_completed" for _ in range(103)}
    first = await get(api, "/v1/webhooks/deliveries")
    second = await get(api, first["next"])
    found = [each["id"].rpartition("_")[0] for each in first["results"] + second["results"]]
    assert len(first["results"]) == 100
    assert (set(found), len(found)) == (made, 103)
    assert second["next"] is None


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("state=lost", 422, "invalid_request"),
        ("event=ended", 422, "unknown_event"),
        ("cursor=abc", 422, "invalid_request"),
        ("webhook=nobody", 404, "unknown_webhook"),
        ("webhook=foreign", 404, "unknown_webhook"),
        ("prediction=%00", 422, "invalid_request"),
        ("created_after=yesterday", 422, "invalid_request"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(
    api: Api, query: str, status: int, code: str
) -> None:
    await new_endpoint(api.database, "foreign", owner="somebody")
    problem = await get(api, f"/v1/webhooks/deliveries?{query}", status)
    assert problem["code"] == code


async def test_one_is_sent_again_under_the_same_id(api: Api, receiver: Receiver) -> None:
    made = await register(api, receiver.url + "/hook")
    delivery = f"{await ended_job(api)}_completed_{made['id']}"
    async with notifying(api.database, api.log):
        await attempted(api, delivery)
        again = await post(api, f"/v1/webhooks/deliveries/{delivery}/resend", 202)
        assert again["state"] == "pending"
        shown = await attempted(api, delivery, 2)
    assert [each["number"] for each in shown["history"]] == [1, 2]
    told = await receiver.of("/hook", 2)
    assert told[0].headers["webhook-id"] == told[1].headers["webhook-id"] == delivery


async def test_a_range_is_sent_again(api: Api, receiver: Receiver) -> None:
    made = await register(api, receiver.url + "/hook")
    other = await register(api, receiver.url + "/other")
    for _ in range(5):
        await ended_job(api)
    async with notifying(api.database, api.log):
        await receiver.of("/hook", 5)
        await receiver.of("/other", 5)

        async def all_delivered() -> bool:
            path = "/v1/webhooks/deliveries?state=delivered"
            return len((await get(api, path))["results"]) == 10

        await until(all_delivered, 20)
        resent = await post(
            api, "/v1/webhooks/deliveries/resend", webhook=made["id"], state="delivered"
        )
        assert resent == {"resent": 5, "more": False}
        await receiver.of("/hook", 10)
    assert len([each for each in receiver.received if each.path == "/other"]) == 5
    assert other["id"] != made["id"]


async def test_a_selection_that_matches_nothing_names_what_to_do(api: Api) -> None:
    made = await register(api)
    await ended_job(api)  # still on its way
    for body in ({}, {"state": "exhausted"}, {"webhook": made["id"]}):
        problem = await post(api, "/v1/webhooks/deliveries/resend", 404, **body)
        assert problem["code"] == "no_delivery_matches"
        assert "GET /v1/webhooks/deliveries" in problem["detail"]


async def test_foreign_and_unknown_deliveries_are_404(api: Api) -> None:
    await new_endpoint(api.database, "foreign", owner="somebody")
    foreign = f"{await ended_job(api, owner='somebody')}_completed_foreign"
    for id in (foreign, "nobody", "%00"):
        assert (await get(api, f"/v1/webhooks/deliveries/{id}", 404))["code"] == "unknown_delivery"
        await post(api, f"/v1/webhooks/deliveries/{id}/resend", 404)
    assert (await get(api, "/v1/webhooks/deliveries"))["results"] == []
    await post(api, "/v1/webhooks/deliveries/resend", 404)


async def test_no_secret_stands_in_a_log_or_in_a_later_reply(api: Api, receiver: Receiver) -> None:
    with structlog.testing.capture_logs() as logs:
        made = await register(api, receiver.url + "/broken")
        key = (await post(api, f"/v1/webhooks/{made['id']}/rotate"))["key"]
        default = (await get(api, "/v1/webhooks/default/secret"))["key"]
        delivery = f"{await ended_job(api)}_completed_{made['id']}"
        async with notifying(api.database, api.log):
            await attempted(api, delivery)
        replies = [
            await get(api, path)
            for path in (
                "/v1/webhooks",
                f"/v1/webhooks/{made['id']}",
                "/v1/webhooks/deliveries",
                f"/v1/webhooks/deliveries/{delivery}",
            )
        ]
    written = json.dumps([logs, replies], default=repr) + str(time.time())
    assert made["id"] in written
    assert not any(secret in written for secret in (made["secret"], key, default, "whsec_"))
