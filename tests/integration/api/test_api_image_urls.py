"""Images at URLs, as the API takes them: by their text alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from api.app import create_app
from common.catalogue import read_catalogue
from common.errors import SettingsInvalid
from common.settings import Settings
from tests.integration.api.running import Api, running_api
from tests.listening import OK, listening

pytestmark = pytest.mark.anyio


@pytest.fixture
async def trusting(settings: Settings) -> AsyncIterator[Api]:
    """An API whose guard trusts this machine."""
    async with running_api(settings.model_copy(update={"url_allowlist": "127.0.0.1"})) as api:
        yield api


async def test_an_image_url_is_accepted_and_not_fetched(trusting: Api) -> None:
    async with listening(OK) as server:
        url = f"{server.url}/photo.jpg?signature=abc"
        body = {"model": "darkroom/captioner", "input": {"image": url}}
        reply = await trusting.client.post("/v1/predictions", json=body)
        jobs = await trusting.take("darkroom/captioner")

    assert reply.status_code == 202
    assert reply.json()["input"] == {"image": url}
    assert (await trusting.get(reply.json()))["input"] == {"image": url}
    assert [spec.inputs for _, spec in jobs] == [{"image": url}]
    assert [found async for found in trusting.store.list("")] == []
    assert server.connections == 0


async def test_a_form_may_name_a_url(api: Api) -> None:
    url = "https://images.example.org/photo.jpg"
    fields = {"image": (None, url), "model": (None, "darkroom/captioner")}
    reply = await api.client.post("/v1/predictions", files=fields)

    assert reply.status_code == 202
    assert reply.json()["input"] == {"image": url}


async def test_the_url_of_a_file_of_ours_is_that_file(api: Api, jpeg: bytes) -> None:
    upload = await api.client.post("/v1/files", files={"content": jpeg})
    body = {"model": "darkroom/captioner", "input": {"image": upload.json()["urls"]["get"]}}
    reply = await api.client.post("/v1/predictions", json=body)

    assert reply.status_code == 202
    assert reply.json()["input"]["image"].startswith("sha256:")


async def test_an_allowlist_that_makes_no_sense_stops_the_start(settings: Settings) -> None:
    wrong = settings.model_copy(update={"url_allowlist": "http://minio:9000"})
    async with running_api(settings) as api:
        with pytest.raises(SettingsInvalid, match="DARKROOM_URL_ALLOWLIST"):
            create_app(
                settings=wrong,
                catalogue=read_catalogue(settings.catalogue_file),
                log=api.log,
                store=api.store,
                database=api.database,
            )
