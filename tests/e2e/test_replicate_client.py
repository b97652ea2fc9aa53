"""Replicate's own client, as it comes from PyPI, pointed at Darkroom."""

from __future__ import annotations

import io
from collections.abc import Iterator

import httpx2
import pytest
from PIL import Image
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError

from tests.e2e.stack import Stack

ECHO = "darkroom/echo"
SKETCH = "darkroom/pencil-sketch"


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    client = Client(api_token="x", base_url=stack.url)
    yield client
    client._client.close()


def picture() -> io.BytesIO:
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 90).convert("RGB").save(buffer, "PNG")
    buffer.name = "noise.png"
    buffer.seek(0)
    return buffer


def test_run_gives_the_output(client: Client) -> None:
    assert client.run(ECHO, input={"prompt": "hello"}) == "hello"


def test_run_by_version_gives_the_output(client: Client) -> None:
    version = client.models.get(ECHO).latest_version
    assert version is not None
    assert client.run(f"{ECHO}:{version.id}", input={"prompt": "hello"}) == "hello"


def test_run_on_a_file_makes_an_image_behind_a_url(client: Client) -> None:
    url = client.run(SKETCH, input={"image": picture()})
    assert isinstance(url, str)
    reply = httpx2.get(url, timeout=60, trust_env=False)  # it follows no redirect
    assert reply.status_code == 200
    assert Image.open(io.BytesIO(reply.content)).size == (64, 48)


def test_a_file_as_a_data_uri_works_too(client: Client) -> None:
    url = client.run(SKETCH, input={"image": picture()}, file_encoding_strategy="base64")
    assert isinstance(url, str)


def test_run_waits_beyond_what_the_server_waits(client: Client) -> None:
    assert client.run(ECHO, input={"prompt": "late", "delay": 2}, wait=1) == "late"


def test_run_raises_what_the_job_failed_with(client: Client) -> None:
    damaged = picture().getvalue()
    middle = len(damaged) // 2
    broken = io.BytesIO(damaged[:middle] + bytes(500) + damaged[middle + 500 :])
    broken.name = "broken.png"
    with pytest.raises(ModelError) as raised:
        client.run(SKETCH, input={"image": broken})
    assert raised.value.prediction.status == "failed"
    assert raised.value.prediction.error


def test_a_prediction_is_made_reloaded_and_waited_for(client: Client) -> None:
    version = client.models.get(ECHO).latest_version
    assert version is not None
    made = client.predictions.create(version=version, input={"prompt": "a", "delay": 1})
    assert made.status == "starting"
    assert set(made.urls or {}) >= {"get", "cancel", "stream"}
    made.reload()
    made.wait()
    assert (made.status, made.output) == ("succeeded", "a")
    assert made.metrics is not None
    again = client.predictions.get(made.id)
    assert (again.output, again.completed_at) == ("a", made.completed_at)
    assert made.id in [one.id for one in client.predictions.list()]


def test_pages_of_predictions_follow_one_another(client: Client) -> None:
    for number in range(101):
        client.predictions.create(model=ECHO, input={"prompt": str(number)})
    first = client.predictions.list()
    assert first.next is not None
    second = client.predictions.list(first.next)
    assert len(first.results) == 100
    assert {one.id for one in first}.isdisjoint(one.id for one in second)


def test_a_prediction_is_canceled(client: Client) -> None:
    made = client.predictions.create(model=ECHO, input={"prompt": "a", "delay": 50})
    made.cancel()
    made.reload()
    assert made.status == "canceled"


def test_the_output_is_streamed(client: Client) -> None:
    events = list(client.stream(ECHO, input={"prompt": "two\nlines"}))
    assert [event.event.value for event in events][-2:] == ["output", "done"]
    assert "".join(str(event) for event in events) == "two\nlines"
    assert all(event.id for event in events)


def test_models_and_versions_are_listed_found_and_read(client: Client) -> None:
    listed = {f"{model.owner}/{model.name}" for model in client.models.list()}
    assert {ECHO, SKETCH} <= listed
    model = client.models.get(SKETCH)
    [version] = model.versions.list()
    assert model.latest_version is not None
    assert version.id == model.latest_version.id
    assert model.versions.get(version.id).openapi_schema["components"]["schemas"]["Input"]
    assert SKETCH in {f"{m.owner}/{m.name}" for m in client.models.search("pencil")}
    assert not list(client.models.search("no model has this"))
    with pytest.raises(ReplicateError) as raised:
        client.models.get("no/body")
    assert raised.value.status == 404


def test_files_are_made_read_listed_used_and_deleted(client: Client) -> None:
    file = client.files.create(picture(), metadata={"album": "7"})
    assert client.files.get(file.id).checksums["sha256"] == file.checksums["sha256"]
    assert file.metadata == {"album": "7"}
    assert file.id in [one.id for one in client.files.list()]
    assert isinstance(client.run(SKETCH, input={"image": file.urls["get"]}), str)
    client.files.delete(file.id)
    with pytest.raises(ReplicateError) as raised:
        client.files.get(file.id)
    assert raised.value.status == 404


@pytest.mark.anyio
async def test_the_asynchronous_calls_work_as_well(stack: Stack) -> None:
    client = Client(api_token="x", base_url=stack.url)
    assert await client.async_run(ECHO, input={"prompt": "a"}) == "a"
    events = [event async for event in await client.async_stream(ECHO, input={"prompt": "b"})]
    assert "".join(str(event) for event in events) == "b"
    await client._async_client.aclose()
