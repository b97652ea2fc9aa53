"""The routes of the systems that Darkroom grew from."""

from __future__ import annotations

import asyncio
import base64

import pytest

from common.settings import Settings
from tests.integration.api.running import Api, running_api

pytestmark = pytest.mark.anyio


async def test_diffusion_takes_the_model_that_makes_images(api: Api, jpeg: bytes) -> None:
    reply = await api.client.post("/api/diffusion", files={"image": ("a.jpg", jpeg)})
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert set(body) == {"image_id", "message", "access_link"}
    [(job_id, spec)] = await api.take("darkroom/painter")
    assert job_id == body["image_id"]
    assert spec.parameters == {"prompt": "Make it better"}
    assert spec.priority == "normal"
    assert (await api.client.get(body["access_link"])).status_code == 202


@pytest.mark.parametrize(
    ("priority", "known_as"),
    [("0", "normal"), ("-1", "low"), ("7", "high"), ("low", "low"), ("high", "high")],
)
async def test_diffusions_priorities_are_numbers_or_our_names(
    api: Api, jpeg: bytes, priority: str, known_as: str
) -> None:
    reply = await api.client.post(
        "/api/diffusion",
        params={"model_name": "darkroom/painter", "prompt": "a fox", "priority": priority},
        files={"image": ("a.jpg", jpeg)},
    )
    assert reply.status_code == 200
    [(_, spec)] = await api.take("darkroom/painter")
    assert spec.priority == known_as
    assert spec.parameters == {"prompt": "a fox"}


async def test_diffusion_answers_a_wrong_type_with_its_message(api: Api) -> None:
    reply = await api.client.post("/api/diffusion", files={"image": ("a.txt", b"hello")})
    assert reply.status_code == 400
    assert reply.json()["message"] == reply.json()["detail"]
    assert (await api.client.post("/api/diffusion", json={})).status_code == 400
    reply = await api.client.post("/api/diffusion?model_name=a/b", files={"image": ("a", b"")})
    assert reply.status_code == 404
    assert reply.json()["code"] == "unknown_model"
    assert await api.nothing_kept()


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
async def test_the_describer_waits_for_the_title(api: Api, jpeg: bytes, prefix: str) -> None:
    async def consume() -> None:
        [(job_id, _)] = await api.take("darkroom/captioner")
        await api.succeed(job_id, text="a teal picture")

    consuming = asyncio.create_task(consume())
    reply = await api.client.post(
        "/api/v1/predictions", json={"image": prefix + base64.b64encode(jpeg).decode()}
    )
    await consuming
    assert reply.status_code == 200
    assert reply.json() == {"title": "a teal picture"}


async def test_a_title_that_takes_too_long_is_canceled(settings: Settings, jpeg: bytes) -> None:
    settings = settings.model_copy(update={"title_timeout": 0.1})
    async with running_api(settings) as api:
        reply = await api.client.post(
            "/api/v1/predictions", json={"image": base64.b64encode(jpeg).decode()}
        )
        assert reply.status_code == 504
        assert reply.json()["code"] == "title_timeout"
        [job] = (await api.client.get("/v1/predictions")).json()["results"]
        assert (job["status"], job["error"]) == ("canceled", "No title within 0.1 seconds.")


async def test_the_describer_refuses_what_is_too_large(settings: Settings, jpeg: bytes) -> None:
    settings = settings.model_copy(update={"max_image_bytes": 2000})
    async with running_api(settings) as api:
        for size in (2001, 100_000):
            image = base64.b64encode(jpeg + bytes(size)).decode()
            reply = await api.client.post("/api/v1/predictions", json={"image": image})
            assert (reply.status_code, reply.json()["code"]) == (400, "file_too_large")
        assert await api.nothing_kept()


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        (base64.b64encode(b"hello").decode(), 415, "not_an_image"),
        ("!!!", 422, "invalid_image"),
        ("é", 422, "invalid_image"),
        ("", 422, "empty_file"),
        (None, 422, "invalid_request"),
    ],
)
async def test_the_describer_refuses_what_is_no_image(
    api: Api, image: str | None, status: int, code: str
) -> None:
    reply = await api.client.post("/api/v1/predictions", json={"image": image})
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert await api.nothing_kept()
