from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode
from cli.up import greeting
from common.settings import Settings


def up(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """`darkroom up` with settings under which it must not start."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
    return subprocess.run(
        [sys.executable, "-m", "cli", "up"],
        env={**plain, "DARKROOM_DATA_DIR": str(folder / "data"), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = up(tmp_path, DARKROOM_PORT=port)
    assert ended.returncode == ExitCode.USAGE
    assert port in ended.stderr
    assert "DARKROOM_PORT" in ended.stderr
    assert "ready" not in ended.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DARKROOM_PORT", "many"),
        ("DARKROOM_DEVICE", "banana"),
        ("DARKROOM_PUBLIC_URL", "nonsense"),
        ("DARKROOM_DATA_DIR", "/proc/no/such/folder"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(tmp_path: Path, name: str, value: str) -> None:
    ended = up(tmp_path, **{name: value})
    assert ended.returncode == ExitCode.USAGE
    assert name in ended.stderr


def test_what_is_tried_first_has_a_key_where_keys_are_asked_for() -> None:
    assert "Bearer" not in greeting(Settings(auth="off"))
    shown = greeting(Settings(auth="on"))
    assert "-H 'Authorization: Bearer KEY'" in shown
    assert "darkroom keys create" in shown
