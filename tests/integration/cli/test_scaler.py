"""`darkroom scaler` as an operator types it, against a running API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from common.settings import Settings
from tests.integration.api.conftest import settings
from tests.integration.api.running import running_api
from tests.integration.api.serving import served
from tests.integration.cli.test_dead_letters import Darkroom as Command

__all__ = ["settings"]
pytestmark = pytest.mark.anyio

MODEL = "darkroom/captioner"


class Darkroom(Command):
    name = "scaler"

    async def models(self) -> Any:
        shown = await self.read("status")
        return {model["model"]: model for model in shown["models"]}


@pytest.fixture
async def darkroom(settings: Settings) -> AsyncIterator[Darkroom]:
    async with running_api(settings) as api, served(api, settings) as parts:
        yield Darkroom(api, parts.settings.public_url)


async def test_rules_are_changed_shown_and_taken_back(darkroom: Darkroom) -> None:
    changed = await darkroom.run("set", MODEL, "--max", "3", "--target", "12.5")
    assert changed.returncode == 0, changed.stderr
    model = (await darkroom.models())[MODEL]
    assert (model["max"], model["target"]) == (3, 12.5)
    shown = await darkroom.run("status")
    assert "max=3 target=12.5" in shown.stdout
    assert (await darkroom.run("set", MODEL, "--reset")).returncode == 0
    assert (await darkroom.models())[MODEL]["changed"] == {}


async def test_scaling_is_paused_and_resumed_of_all_and_of_one(darkroom: Darkroom) -> None:
    for words, mode, paused in (
        (["pause"], "paused", False),
        (["dry-run"], "dry_run", False),
        (["resume"], "on", False),
        (["pause", MODEL], "on", True),
        (["resume", MODEL], "on", False),
    ):
        assert (await darkroom.run(*words)).returncode == 0
        shown = await darkroom.read("status")
        assert shown["mode"] == mode
        assert [m["paused"] for m in shown["models"] if m["model"] == MODEL] == [paused]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["set", MODEL], "--reset"),
        (["set", MODEL, "--max", "2", "--reset"], "--reset"),
        (["set", MODEL, "--min", "3", "--max", "2"], "min=3 is more than max=2"),
        (["set", "a/b", "--max", "2"], "Known models"),
    ],
)
async def test_what_makes_no_sense_is_said_and_ends_with_2(
    darkroom: Darkroom, words: list[str], said: str
) -> None:
    ended = await darkroom.run(*words)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert all(not model["changed"] for model in (await darkroom.models()).values())
