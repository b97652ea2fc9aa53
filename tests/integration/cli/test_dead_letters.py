"""`darkroom dead-letters` as a user types it, against a running API."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from api.recorder import Recorder
from common.settings import PROJECT, Settings
from tests.integration.api.conftest import jpeg, settings
from tests.integration.api.running import Api, running_api
from tests.integration.api.serving import served
from tests.integration.api.test_api_dead_letters import failed

__all__ = ["jpeg", "settings"]
pytestmark = pytest.mark.anyio


class Darkroom:
    """The API, and the command that talks to it."""

    name = "dead-letters"

    def __init__(self, api: Api, url: str) -> None:
        self.api, self._url = api, url

    async def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        plain = {name: value for name, value in os.environ.items() if "DARKROOM" not in name}
        command = [sys.executable, "-m", "cli", self.name, *words, "--url", self._url]
        return await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=PROJECT,
            env={**plain, "COLUMNS": "250"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    async def read(self, *words: str) -> Any:
        ended = await self.run(*words, "--json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)


@pytest.fixture
async def darkroom(settings: Settings) -> AsyncIterator[Darkroom]:
    async with running_api(settings) as api, served(api, settings) as parts:
        recording = asyncio.create_task(Recorder(log=api.log, database=api.database).run())
        yield Darkroom(api, parts.settings.public_url)
        recording.cancel()
        with suppress(asyncio.CancelledError):
            await recording


async def test_letters_are_listed_and_grouped(darkroom: Darkroom, jpeg: bytes) -> None:
    shown = await darkroom.run("list")
    assert (shown.returncode, shown.stdout) == (0, "No dead letter waits.\n")
    crashed = await failed(darkroom.api, jpeg, "engine_crashed")
    lost = await failed(darkroom.api, jpeg, "consumer_lost", "darkroom/painter")
    shown = await darkroom.run("list")
    for word in (crashed["id"], "engine_crashed", lost["id"], "It was consumer_lost."):
        assert word in shown.stdout
    assert [one["id"] for one in await darkroom.read("list", "--cause", "consumer_lost")] == [
        lost["id"]
    ]
    [group] = await darkroom.read("groups", "--model", "darkroom/captioner")
    assert (group["cause"], group["count"]) == ("engine_crashed", 1)
    assert group["sample"]["id"] == crashed["id"]
    assert "engine_crashed" in (await darkroom.run("groups")).stdout


async def test_letters_are_replayed_and_discarded(darkroom: Darkroom, jpeg: bytes) -> None:
    a, b, c, d = [(await failed(darkroom.api, jpeg, code))["id"] for code in ("a", "b", "c", "d")]
    replayed = await darkroom.read("replay", "--cause", "a")
    assert (replayed["done"], replayed["results"][0]["id"]) == (1, a)
    new = await darkroom.api.get({"id": replayed["results"][0]["prediction"]})
    assert new["retry_of"] == a
    assert (await darkroom.read("discard", b))["done"] == 1
    assert {one["id"] for one in await darkroom.read("list")} == {c, d}
    said = await darkroom.run("discard", "--all")
    assert (said.returncode, said.stderr) == (0, "2 discarded, 0 left.\n")
    assert await darkroom.read("list") == []


async def test_all_of_more_than_one_call_does_are_dealt_with(
    darkroom: Darkroom, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.replaying.MOST_AT_ONCE", 2)
    ids = {(await failed(darkroom.api, jpeg, "engine_crashed"))["id"] for _ in range(5)}
    replayed = await darkroom.read("replay", "--all")
    assert (replayed["done"], replayed["remaining"]) == (5, 0)
    assert {one["id"] for one in replayed["results"]} == ids


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["replay"], 2, "--all"),
        (["discard", "x", "--all"], 2, "--all"),
        (["replay", "--cause", "no_such"], 1, "/v1/dead-letters/groups"),
        (["discard", "no-such-id"], 1, "/v1/dead-letters/groups"),
    ],
)
async def test_what_makes_no_sense_or_meets_nothing_names_the_fix(
    darkroom: Darkroom, words: list[str], code: int, said: str
) -> None:
    ended = await darkroom.run(*words)
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr
