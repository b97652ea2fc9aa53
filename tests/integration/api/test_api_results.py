"""The access link in every state of its job."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.api.running import Api

pytestmark = pytest.mark.anyio


def assert_safe(reply: Any) -> None:
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"].startswith("sandbox")


async def test_a_pending_link_says_when_to_ask_again(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    for link in (made["access_link"], made["access_link"] + "/0"):
        reply = await api.client.get(link)
        assert reply.status_code == 202
        assert int(reply.headers["retry-after"]) >= 1
        assert reply.json() == {
            "id": made["id"], "status": "starting", "reason": "waiting for a consumer"
        }  # fmt: skip


async def test_a_caption_is_text_or_json(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    await api.succeed(made["id"], text="ein roter Kreis ●")
    await api.ended(made)
    reply = await api.client.get(made["access_link"])
    assert reply.status_code == 200
    assert reply.text == "ein roter Kreis ●"
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert_safe(reply)
    reply = await api.client.get(made["access_link"], headers={"accept": "application/json"})
    assert reply.json() == {"id": made["id"], "output": "ein roter Kreis ●"}


async def test_an_image_is_its_bytes(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    await api.succeed(made["id"], files=[b"pixels"])
    await api.ended(made)
    for link in (made["access_link"], made["access_link"] + "/0"):
        reply = await api.client.get(link)
        assert reply.status_code == 200
        assert reply.content == b"pixels"
        assert reply.headers["content-type"] == "image/png"
        name = f"{made['id']}-0.png"
        assert reply.headers["content-disposition"] == f'inline; filename="{name}"'
        assert_safe(reply)


async def test_a_failure_is_a_problem_with_the_jobs_code(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    await api.fail(made["id"], "bad_input", "The picture is damaged.")
    await api.ended(made)
    reply = await api.client.get(made["access_link"])
    assert reply.status_code == 422
    assert (reply.json()["code"], reply.json()["detail"]) == (
        "bad_input",
        "The picture is damaged.",
    )


async def test_a_canceled_job_is_gone(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    await api.client.post(f"/v1/predictions/{made['id']}/cancel")
    reply = await api.client.get(made["access_link"])
    assert reply.status_code == 410
    assert reply.json()["code"] == "canceled"


async def test_a_removed_result_is_gone(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    await api.succeed(made["id"], files=[b"pixels"])
    await api.ended(made)
    await api.store.delete(f"outputs/{made['id']}/t1/0.png")
    reply = await api.client.get(made["access_link"])
    assert reply.status_code == 410
    assert reply.json()["code"] == "removed"


async def test_a_wrong_link_is_not_found(api: Api, jpeg: bytes) -> None:
    made, other = await api.submit(jpeg), await api.submit(jpeg)
    await api.succeed(made["id"], files=[b"pixels"])
    await api.ended(made)
    token = made["access_link"].rpartition("/")[2]
    for path in (
        f"{made['id']}/{'0' * 32}",
        f"{made['id']}/é",
        f"{other['id']}/{token}",
        f"019aa5f0-2c44-7b1e-9d6f-3f0c8a51e7d2/{token}",
        f"%00/{token}",
        f"{made['id']}/{token}/1",
        f"{made['id']}/{token}/-1",
        f"{made['id']}/{token}/00",
    ):
        reply = await api.client.get(f"/v1/results/{path}")
        assert (reply.status_code, reply.json()["code"]) == (404, "unknown_result"), path
