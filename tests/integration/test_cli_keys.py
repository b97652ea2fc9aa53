"""`darkroom keys` as an operator types it, on a ledger of either dialect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.access.keys import id_of
from cli.exit_codes import ExitCode
from tests.ledger import ledger_url

__all__ = ["ledger_url"]

pytestmark = pytest.mark.anyio
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def darkroom(ledger_url: str) -> Any:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli", "keys", *words],
            cwd=PROJECT,
            env={**plain, "DARKROOM_DATABASE_URL": ledger_url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def read(ended: subprocess.CompletedProcess[str]) -> Any:
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


async def test_a_key_is_made_listed_rotated_and_revoked(darkroom: Any) -> None:
    made = read(darkroom("create", "--name", "phone", "--expires", "30d", "--json"))
    assert set(made) == {"id", "key"}
    assert id_of(made["key"]) == made["id"]

    rotated = read(darkroom("rotate", made["id"], "--overlap", "1h", "--json"))
    ended = darkroom("revoke", rotated["id"])
    assert ended.returncode == 0, ended.stderr
    assert "within" in ended.stderr

    old, new = read(darkroom("list", "--json"))
    assert (old["state"], new["state"]) == ("active", "revoked")
    assert (new["owner"], new["name"], new["scopes"]) == (old["owner"], "phone", ["user"])
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert abs(datetime.fromisoformat(old["expires_at"]) - soon) < timedelta(minutes=2)
    assert made["key"] not in darkroom("list").stdout


async def test_rotating_without_overlap_ends_the_old_key_now(darkroom: Any) -> None:
    made = read(darkroom("create", "--scope", "monitor", "--scope", "worker", "--json"))
    read(darkroom("rotate", made["id"], "--json"))
    old, new = read(darkroom("list", "--json"))
    assert (old["state"], new["state"]) == ("revoked", "active")
    assert new["scopes"] == ["monitor", "worker"]


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["create", "--scope", "everything"], "admin"),
        (["create", "--expires", "soon"], "30d"),
        (["create", "--expires", "2001-01-01"], "passed"),
        (["create", "--owner", "../me"], "letters"),
        (["revoke", "000000000000"], "keys list"),
        (["rotate", "000000000000"], "keys list"),
    ],
)
async def test_what_makes_no_sense_names_the_fix(darkroom: Any, words: list[str], fix: str) -> None:
    ended = darkroom(*words)
    assert ended.returncode == ExitCode.USAGE
    assert fix in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_revoked_key_has_no_successor(darkroom: Any) -> None:
    made = read(darkroom("create", "--json"))
    assert darkroom("revoke", made["id"]).returncode == 0
    ended = darkroom("rotate", made["id"])
    assert ended.returncode == ExitCode.USAGE
    assert "keys create" in ended.stderr


def test_a_ledger_that_does_not_answer_is_said(tmp_path: Path) -> None:
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "cli", "keys", "list"],
        cwd=PROJECT,
        env={**os.environ, "DARKROOM_DATABASE_URL": "postgresql+asyncpg://x@127.0.0.1:1/x"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == ExitCode.SERVER_UNAVAILABLE
    assert "DARKROOM_DATABASE_URL" in ended.stderr
    assert time.monotonic() - began < 30
