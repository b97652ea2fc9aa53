"""Models: the catalogue, and what the workers say of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from common import wire
from common.events import WorkerHeartbeat, WorkerState
from common.topic import WORKERS
from tests.integration.api.running import Api

pytestmark = pytest.mark.anyio


async def heartbeat(api: Api, state: WorkerState, reason: str = "") -> None:
    beat = WorkerHeartbeat(
        worker="w1", model="darkroom/captioner", state=state, at=time.time(), host="here",
        pid=7, reason=reason, device="cpu",
    )  # fmt: skip
    await api.log.append(WORKERS, "w1", wire.encode(beat), wire.HEADERS)


async def model_when(api: Api, state: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            model = (await api.client.get("/v1/models/darkroom/captioner")).json()
            if model["state"] == state:
                return model
            await asyncio.sleep(0.02)


async def test_the_list_suits_replicates_and_openais_clients(api: Api) -> None:
    page = (await api.client.get("/v1/models")).json()
    assert page["object"] == "list"
    assert page["next"] is None
    assert page["data"] == page["results"]
    assert [model["id"] for model in page["data"]] == [
        "darkroom/echo", "darkroom/captioner", "darkroom/painter"
    ]  # fmt: skip
    for model in page["results"]:
        assert f"{model['owner']}/{model['name']}" == model["id"]
        assert model["state"] == "off"
        assert model["reason"] == "waiting for a consumer"


async def test_a_model_tells_its_version_and_what_it_takes(api: Api) -> None:
    model = (await api.client.get("/v1/models/darkroom/painter")).json()
    assert (model["task"], model["makes"]) == ("image_to_image", "image")
    schemas = model["latest_version"]["openapi_schema"]["components"]["schemas"]
    assert {"image", "prompt", "strength"} <= set(schemas["Input"]["properties"])
    assert schemas["Input"]["required"] == ["image"]
    assert schemas["Output"]["format"] == "uri"
    versions = (await api.client.get("/v1/models/darkroom/painter/versions")).json()
    assert versions["results"] == [model["latest_version"]]
    version_id = model["latest_version"]["id"]
    one = await api.client.get(f"/v1/models/darkroom/painter/versions/{version_id}")
    assert one.json() == model["latest_version"]


@pytest.mark.parametrize("path", ["", "/versions", "/versions/1"])
async def test_an_unknown_model_lists_the_known_ones(api: Api, path: str) -> None:
    reply = await api.client.get(f"/v1/models/a/b{path}")
    assert reply.status_code == 404
    assert "darkroom/painter" in reply.json()["detail"]


async def test_a_failed_worker_is_seen_on_the_model_and_on_its_jobs(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    await heartbeat(api, WorkerState.FAILED, "the weights are no safetensors")
    assert (await model_when(api, "failed"))["reason"] == "the weights are no safetensors"
    assert (await api.get(made))["queue"]["reason"] == "the weights are no safetensors"
    await heartbeat(api, WorkerState.LOADING)
    assert "the weights are no safetensors" in (await model_when(api, "loading"))["reason"]
    await heartbeat(api, WorkerState.READY)
    ready = await model_when(api, "ready")
    assert ready["reason"] == ""
    assert ready["workers"] == [{"id": "w1", "state": "ready", "device": "cpu", "running": 0}]
    assert (await api.get(made))["queue"]["reason"] == ""
