"""What the documents say of settings and commands is what the code does."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli.__main__ import app
from common.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]


USING = (PROJECT / "docs" / "using.md").read_text()
OPERATING = (PROJECT / "docs" / "operating.md").read_text()


def commands_of(document: str) -> list[str]:
    """The lines of its shell blocks that call `darkroom`, without their remarks."""
    blocks = re.findall(r"```sh\n(.*?)```", document, re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("darkroom ")]


def named(words: list[str]) -> tuple[Any, list[str]]:
    """The command that a line names, and what is left of the line."""
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    return command, words


@pytest.mark.parametrize("line", commands_of(USING) + commands_of(OPERATING))
def test_a_documented_command_is_one(line: str) -> None:
    command, words = named(shlex.split(line)[1:])
    command.make_context(line, words)  # raises where an option or a value is none


def test_every_command_is_documented() -> None:
    known = set(get_command(app).commands) - {"up", "batch"}  # type: ignore[attr-defined]
    assert {line.split()[1] for line in commands_of(USING)} == known


def documented() -> dict[str, str]:
    lines = (PROJECT / "apps.env").read_text().splitlines()
    pattern = re.compile(r"# (DARKROOM_[A-Z_]+)=(.*)")
    return {m[1]: m[2] for line in lines if (m := pattern.fullmatch(line))}


def test_apps_env_holds_every_setting_with_its_default() -> None:
    defaults = {
        f"DARKROOM_{name.upper()}": str(field.get_default())
        for name, field in Settings.model_fields.items()
    }
    assert documented() == defaults


def test_apps_env_sets_nothing_and_explains_each_line() -> None:
    lines = (PROJECT / "apps.env").read_text().splitlines()
    assert all(line.startswith("#") or not line for line in lines)
    for before, line in itertools.pairwise(lines):
        if line.startswith("# DARKROOM_"):
            assert before.startswith("# ")
            assert not before.startswith("# DARKROOM_")


def test_apps_env_with_every_line_active_gives_the_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.startswith("DARKROOM_")]:
        monkeypatch.delenv(name)  # servers of the caller's own
    values = {name.removeprefix("DARKROOM_").lower(): v for name, v in documented().items()}
    assert Settings.model_validate(values) == Settings.model_validate({})


@pytest.mark.parametrize("document", ["promises.md", "security.md", "operating.md"])
def test_every_test_that_a_document_names_is_there(document: str) -> None:
    text = (PROJECT / "docs" / document).read_text()
    tests = sorted(set(re.findall(r"`(tests/[\w/]+\.py)`", text)))
    assert tests
    assert [test for test in tests if not (PROJECT / test).is_file()] == []
