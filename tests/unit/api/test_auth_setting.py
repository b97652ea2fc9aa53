from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.settings import Settings


@pytest.mark.parametrize(
    ("host", "auth", "on"),
    [
        ("127.0.0.1", "auto", False),
        ("127.8.9.1", "auto", False),
        ("::1", "auto", False),
        ("localhost", "auto", False),
        ("0.0.0.0", "auto", True),
        ("::", "auto", True),
        ("10.0.0.1", "auto", True),
        ("example.org", "auto", True),
        ("127.0.0.1", "on", True),
        ("127.0.0.1", "off", False),
    ],
)
def test_auth_is_off_by_itself_only_on_loopback(host: str, auth: str, on: bool) -> None:
    assert Settings.model_validate({"host": host, "auth": auth}).auth_on is on


def test_off_is_refused_where_others_reach_the_port(tmp_path: Path) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
    ended = subprocess.run(
        [sys.executable, "-m", "api", "serve"],
        env={
            **plain,
            "DARKROOM_HOST": "0.0.0.0",
            "DARKROOM_AUTH": "off",
            "DARKROOM_DATA_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "Set DARKROOM_AUTH to on" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
