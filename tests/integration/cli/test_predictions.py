"""The commands over predictions, as a user types them, against the real application."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from common.settings import PROJECT, Settings
from tests.integration.api.conftest import jpeg, settings
from tests.integration.api.running import Api, running_api
from tests.integration.api.serving import served

__all__ = ["jpeg", "settings"]
pytestmark = pytest.mark.anyio


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Darkroom = Callable[..., Awaitable[Ended]]


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with running_api(settings) as api:
        yield api


@pytest.fixture
async def darkroom(api: Api, settings: Settings) -> AsyncIterator[Darkroom]:
    async with served(api, settings) as parts:
        yield lambda *words: command(*words, "--url", parts.settings.public_url)


async def command(*words: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", *words),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def submit(api: Api, model: str = "darkroom/echo", **fields: Any) -> str:
    body = {"model": model, "input": {"prompt": "hi"}, **fields}
    reply = await api.client.post("/v1/predictions", json=body)
    assert reply.status_code == 202, reply.text
    id: str = reply.json()["id"]
    return id


async def test_get_shows_one(api: Api, darkroom: Darkroom) -> None:
    id = await submit(api)
    shown = await darkroom("get", id)
    assert shown.code == 0
    assert f"id: {id}" in shown.out
    assert "status: starting" in shown.out
    found = (await darkroom("get", id, "--json")).json
    assert (found["id"], found["status"], found["input"]) == (id, "starting", {"prompt": "hi"})


async def test_submit_takes_every_hold(api: Api, darkroom: Darkroom) -> None:
    words = (
        *("submit", "--model", "darkroom/echo", "--prompt", "hi", "--set", "delay=2"),
        *("--priority", "high", "--label", "red", "--start-by", "1h", "--cancel-after", "2h"),
        *("--webhook", "http://127.0.0.1:9000/", "--event", "start", "--idempotency-key", "k"),
    )
    made = (await darkroom(*words, "--json")).json
    assert made["input"] == {"prompt": "hi", "delay": 2.0}
    assert (made["priority"], made["labels"]) == ("high", ["red"])
    assert made["start_by"] is not None
    again = await darkroom(*words)
    assert f"id: {made['id']}" in again.out, again.err
    assert f"access_link: {made['access_link']}" in again.out


async def test_submit_sends_a_file_or_names_a_url(
    api: Api, darkroom: Darkroom, jpeg: bytes, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg)
    filters = ("--model", "darkroom/captioner", "--set", "max_new_tokens=8")
    made = (await darkroom("submit", str(photo), *filters, "--json")).json
    assert made["input"]["image"].startswith("sha256:")
    assert made["input"]["max_new_tokens"] == 8
    named = (await darkroom("submit", "https://example.org/a.jpg", *filters, "--json")).json
    assert named["input"]["image"] == "https://example.org/a.jpg"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["no/such.jpg"], "no/such.jpg"),
        (["--set", "delay"], "NAME=VALUE"),
        (["--set", "speed=9"], "speed"),
        (["--start-by", "2020-01-01"], "not in the future"),
    ],
)
async def test_submit_says_what_to_mend(darkroom: Darkroom, words: list[str], says: str) -> None:
    told = await darkroom("submit", "--model", "darkroom/echo", *words)
    assert (told.code, says in told.err) == (2, True), told.err


async def test_one_that_waits_shows_its_place(api: Api, darkroom: Darkroom) -> None:
    await submit(api)
    id = await submit(api)
    assert "queue: 1 before it" in (await darkroom("get", id)).out


async def test_list_filters_and_ends_at_its_limit(api: Api, darkroom: Darkroom) -> None:
    ids = [await submit(api, labels=["red"] if number == 1 else []) for number in range(3)]
    await darkroom("cancel", ids[0], "--quiet")

    async def listed(*words: str) -> list[str]:
        shown = await darkroom("list", "--json", *words)
        assert shown.code == 0, shown.err
        return [each["id"] for each in shown.json]

    assert await listed() == ids[::-1]
    assert await listed("--limit", "2") == ids[:0:-1]
    assert await listed("--status", "canceled") == ids[:1]
    assert await listed("--label", "red") == [ids[1]]
    assert await listed("--model", "darkroom/painter") == []
    assert ids[2] in (await darkroom("list")).out
    refused = await darkroom("list", "--model", "m" * 201)
    assert (refused.code, "200 characters" in refused.err) == (2, True)


async def test_list_follows_the_pages(
    api: Api, darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.predictions.PAGE", 2)
    ids = [await submit(api) for _ in range(5)]
    shown = await darkroom("list", "--json")
    assert [each["id"] for each in shown.json] == ids[::-1]


async def test_what_fails_does_not_keep_the_rest_from_being_done(
    api: Api, darkroom: Darkroom
) -> None:
    first, last = await submit(api), await submit(api)
    unknown = "019aa5f0-2c44-7b1e-9d6f-3f0c8a51e7d2"
    told = await darkroom("cancel", first, unknown, last, "--json")
    assert told.code == 1
    assert [each.get("status", each.get("code")) for each in told.json] == [
        "canceled",
        "unknown_prediction",
        "canceled",
    ]
    assert unknown in told.err


async def test_retry_names_the_new_one(api: Api, darkroom: Darkroom) -> None:
    id = await submit(api)
    refused = await darkroom("retry", id)
    assert refused.code == 1
    assert "has not ended" in refused.err
    await darkroom("cancel", id)
    [told] = (await darkroom("retry", id, "--json")).json
    again = (await api.client.get(f"/v1/predictions/{told['retried_as']}")).json()
    assert (again["retry_of"], again["status"]) == (id, "starting")


async def test_delete_removes(api: Api, darkroom: Darkroom) -> None:
    id = await submit(api)
    refused = await darkroom("delete", id)
    assert (refused.code, "cancel it first" in refused.err) == (1, True)
    await darkroom("cancel", id)
    told = await darkroom("delete", id)
    assert (told.code, told.out.strip()) == (0, f"{id}: removed")
    assert (await api.client.get(f"/v1/predictions/{id}")).json()["data_removed"] is True
    quiet = await darkroom("delete", id, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


@pytest.mark.parametrize("words", [["list", "--status", "queued"], ["cancel"], ["get"]])
async def test_what_makes_no_sense_is_a_usage_error(words: list[str]) -> None:
    assert (await command(*words)).code == 2


async def test_a_server_that_is_away_is_said_so() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound, and nobody listens
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        ended = await command("get", "x", "--url", url)
    assert ended.code == 4
    assert "does not answer" in ended.err
