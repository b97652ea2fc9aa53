"""The fields of a prediction that say whom to tell of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.api.running import Api
from tests.ledger import the_job

pytestmark = pytest.mark.anyio

HOOK = "https://hooks.example.org/darkroom?key=1"


async def create(api: Api, **fields: object) -> Any:
    body = {"model": "darkroom/echo", "input": {"prompt": "hello"}, **fields}
    return await api.client.post("/v1/predictions", json=body)


async def test_json_says_where_and_of_what_to_tell(api: Api) -> None:
    reply = await create(api, webhook=HOOK, webhook_events_filter=["start", "completed", "start"])
    assert reply.status_code == 202
    job = await the_job(api.database, reply.json()["id"])
    assert (job.webhook, job.webhook_events) == (HOOK, ("start", "completed"))


@pytest.mark.parametrize("events", ["output, completed", '["output", "completed"]'])
async def test_a_form_says_it_too(api: Api, jpeg: bytes, events: str) -> None:
    made = await api.submit(jpeg, webhook=HOOK, webhook_events_filter=events)
    job = await the_job(api.database, made["id"])
    assert (job.webhook, job.webhook_events) == (HOOK, ("output", "completed"))


async def test_without_them_nobody_is_told(api: Api) -> None:
    job = await the_job(api.database, (await create(api)).json()["id"])
    assert (job.webhook, job.webhook_events) == (None, ())


@pytest.mark.parametrize("name", ["end", "", "START", "completed ", "output,logs"])
async def test_an_unknown_event_is_refused_with_the_names_that_there_are(
    api: Api, name: str
) -> None:
    reply = await create(api, webhook=HOOK, webhook_events_filter=[name])
    assert (reply.status_code, reply.json()["code"]) == (422, "unknown_event")
    assert "start, output, logs or completed" in reply.json()["detail"]
    assert await api.nothing_kept()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.org/x",
        "ftp://example.org/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.1]/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://user:password@example.org/",
        "https://example.org:22/",
        "https://example.org\\@10.0.0.1/",
        "https://example.org/\n",
        "https://example.org/\x00",
        "https:///x",
        "https://example.org/" + "x" * 5000,
    ],
)
async def test_a_hostile_url_is_refused_at_the_door(api: Api, url: str) -> None:
    reply = await create(api, webhook=url)
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_webhook"), reply.text
    assert await api.nothing_kept()


async def test_a_hostile_url_in_a_form_is_refused_too(api: Api, jpeg: bytes) -> None:
    reply = await api.client.post(
        "/v1/predictions",
        data={"model": "darkroom/captioner", "webhook": "http://10.0.0.1/"},
        files={"image": ("a.jpg", jpeg)},
    )
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_webhook")
    assert await api.nothing_kept()


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org?key=1",
        "https://hooks.example.org:443/?key=1",
        "https://hooks.example.org:00443?key=1",
        "HTTPS://Hooks.EXAMPLE.org/?key=1#part",
    ],
)
async def test_a_receiver_has_one_spelling_so_that_it_has_one_share_of_the_sending(
    api: Api, url: str
) -> None:
    reply = await create(api, webhook=url)
    job = await the_job(api.database, reply.json()["id"])
    assert job.webhook == "https://hooks.example.org/?key=1"
