"""Files: uploaded once, used in many jobs."""

from __future__ import annotations

import hashlib

import pytest

from tests.integration.api.running import Api

pytestmark = pytest.mark.anyio


async def upload(api: Api, jpeg: bytes) -> dict[str, object]:
    """As Replicate's client sends it."""
    reply = await api.client.post(
        "/v1/files",
        files={
            "content": ("photo.jpg", jpeg, "application/octet-stream"),
            "metadata": (None, '{"album": 7}', "application/json"),
        },
    )
    assert reply.status_code == 201, reply.text
    file: dict[str, object] = reply.json()
    return file


async def test_an_upload_tells_everything_about_the_file(api: Api, jpeg: bytes) -> None:
    file = await upload(api, jpeg)
    digest = hashlib.sha256(jpeg).hexdigest()
    assert set(file) == {
        "id", "name", "content_type", "size", "etag", "checksums", "metadata", "created_at",
        "expires_at", "urls",
    }  # fmt: skip
    assert file["name"] == "photo.jpg"
    assert file["content_type"] == "image/jpeg"
    assert file["size"] == len(jpeg)
    assert file["checksums"] == {"sha256": digest}
    assert file["metadata"] == {"album": 7}
    assert file["urls"] == {"get": f"http://darkroom.test/v1/files/{file['id']}"}
    assert (await api.client.get(f"/v1/files/{file['id']}")).json() == file
    assert (await api.client.get("/v1/files")).json()["results"] == [file]


async def test_a_file_is_an_input_by_its_id_or_its_url(api: Api, jpeg: bytes) -> None:
    file = await upload(api, jpeg)
    for reference in (file["id"], f"http://darkroom.test/v1/files/{file['id']}"):
        reply = await api.client.post(
            "/v1/predictions",
            json={"model": "darkroom/captioner", "input": {"image": reference}},
        )
        assert reply.status_code == 202, reply.text
    for _, spec in await api.take("darkroom/captioner"):
        assert await api.store.get(spec.inputs["image"]) == jpeg


async def test_a_deleted_file_is_gone_and_its_jobs_keep_their_input(api: Api, jpeg: bytes) -> None:
    file = await upload(api, jpeg)
    body = {"model": "darkroom/captioner", "input": {"image": file["id"]}}
    await api.client.post("/v1/predictions", json=body)
    reply = await api.client.delete(f"/v1/files/{file['id']}")
    assert reply.status_code == 204
    assert reply.content == b""
    for method in ("GET", "DELETE"):
        reply = await api.client.request(method, f"/v1/files/{file['id']}")
        assert reply.status_code == 404
        assert reply.json()["code"] == "unknown_file"
    assert (await api.client.post("/v1/predictions", json=body)).status_code == 404
    [(_, spec)] = await api.take("darkroom/captioner")
    assert await api.store.get(spec.inputs["image"]) == jpeg
    assert [found.key async for found in api.store.list("")] == [spec.inputs["image"]]


async def test_files_come_in_pages(api: Api, jpeg: bytes) -> None:
    ids = [(await upload(api, jpeg))["id"] for _ in range(101)]
    first = (await api.client.get("/v1/files")).json()
    second = (await api.client.get(first["next"])).json()
    assert [one["id"] for one in first["results"] + second["results"]] == ids[::-1]
    assert second["next"] is None
