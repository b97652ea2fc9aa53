"""Inputs and results that their user removes, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.settings import Settings
from tests.integration.api.running import Api, running_api

pytestmark = pytest.mark.anyio


async def keys(api: Api) -> list[str]:
    return [found.key async for found in api.store.list("")]


async def delete(api: Api, prediction: Any) -> int:
    return (await api.client.delete(f"/v1/predictions/{prediction['id']}")).status_code


async def test_what_was_taken_and_made_is_gone_at_once(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg, model="darkroom/painter", prompt="my secret", labels="kept")
    await api.succeed(made["id"], files=[b"picture"])
    before = await api.ended(made)
    assert before["data_removed"] is False
    assert await delete(api, made) == 204
    after = await api.get(made)
    assert after == {**before, "data_removed": True, "input": {}, "output": None, "logs": ""}
    assert "my secret" not in str(after)
    assert await keys(api) == []
    for link in (made["access_link"], before["output"]):
        reply = await api.client.get(link)
        assert (reply.status_code, reply.json()["code"]) == (410, "removed")
    listed = (await api.client.get("/v1/predictions", params={"label": "kept"})).json()["results"]
    assert listed == [after]
    assert await delete(api, made) == 204  # once more changes nothing


async def test_a_text_is_removed_too(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    await api.succeed(made["id"], text="a red circle")
    await api.ended(made)
    assert await delete(api, made) == 204
    reply = await api.client.get(made["access_link"])
    assert (reply.status_code, reply.json()["code"]) == (410, "removed")


async def test_what_has_not_ended_is_not_removed(api: Api, jpeg: bytes) -> None:
    made = await api.submit(jpeg)
    reply = await api.client.delete(f"/v1/predictions/{made['id']}")
    assert (reply.status_code, reply.json()["code"]) == (409, "not_ended")
    assert "cancel it" in reply.json()["detail"]
    assert len(await keys(api)) == 1
    await api.client.post(f"/v1/predictions/{made['id']}/cancel")
    assert await delete(api, made) == 204
    assert await keys(api) == []


async def test_equal_images_of_jobs_and_files_are_removed_one_by_one(api: Api, jpeg: bytes) -> None:
    first, second = await api.submit(jpeg), await api.submit(jpeg)
    form = {"content": ("a.jpg", jpeg)}
    file = (await api.client.post("/v1/files", files=form)).json()
    await api.succeed(first["id"], text="one")
    await api.ended(first)
    assert await delete(api, first) == 204
    [(_, _), (_, spec)] = await api.take("darkroom/captioner")
    assert await api.store.get(spec.inputs["image"]) == jpeg
    await api.succeed(second["id"], text="two")
    await api.ended(second)
    assert await delete(api, second) == 204
    [left] = await keys(api)
    assert left != spec.inputs["image"]
    assert (await api.client.delete(f"/v1/files/{file['id']}")).status_code == 204
    assert await keys(api) == []


async def test_a_deletion_through_another_process_takes_nothing_of_an_equal_image_on_its_way(
    api: Api, settings: Settings, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await api.submit(jpeg)
    await api.client.post(f"/v1/predictions/{old['id']}/cancel")
    put = api.store.put
    async with running_api(settings) as other:

        async def put_and_delete(key: str, content: bytes, content_type: str) -> None:
            await put(key, content, content_type)
            assert await delete(other, old) == 204  # the new row is not committed yet

        monkeypatch.setattr(api.store, "put", put_and_delete)
        new = await api.submit(jpeg)
    job = await api.parts.job("local", new["id"])
    assert await keys(api) == [job.spec.inputs["image"]]


async def test_an_unknown_prediction_is_not_found(api: Api) -> None:
    assert await delete(api, {"id": "019aa5f0-2c44-7b1e-9d6f-3f0c8a51e7d2"}) == 404


@pytest.mark.parametrize(("kept", "shown"), [(0.0, False), (86_400.0, True)])
async def test_a_file_says_until_when_it_is_kept(
    settings: Settings, jpeg: bytes, tmp_path: Path, kept: float, shown: bool
) -> None:
    async with running_api(settings.model_copy(update={"result_seconds": kept})) as api:
        file = (await api.client.post("/v1/files", files={"content": ("a.jpg", jpeg)})).json()
    assert (file["expires_at"] is not None) is shown
