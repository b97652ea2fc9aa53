"""What the documents say of settings and commands is what the code does."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from common.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]


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


def test_apps_env_with_every_line_active_gives_the_defaults() -> None:
    values = {name.removeprefix("DARKROOM_").lower(): v for name, v in documented().items()}
    assert Settings.model_validate(values) == Settings.model_validate({})
