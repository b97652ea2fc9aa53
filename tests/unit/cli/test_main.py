from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
DARKROOM = (sys.executable, "-m", "cli")
LOCAL_BATCH = (sys.executable, str(PROJECT / "local_batch.py"))


@pytest.fixture
def nobody() -> Iterator[str]:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound, and nobody listens
        yield f"http://127.0.0.1:{unheard.getsockname()[1]}"


def ended(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_names_the_commands() -> None:
    shown = ended(*DARKROOM, "--help")
    assert shown.returncode == 0
    assert "batch" in shown.stdout
    assert "up" in shown.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["batch"],
        ["batch", "."],
        ["batch", ".", "--model", "a/b", "--out", "pdf"],
        ["batch", ".", "--model", "a/b", "--priority", "urgent"],
        ["batch", ".", "--model", "a/b", "--concurrency", "0"],
        ["batch", ".", "--model", "a/b", "--url", "no-address"],
    ],
)
def test_a_command_that_makes_no_sense_exits_with_2(words: list[str]) -> None:
    assert ended(*DARKROOM, *words).returncode == 2


def test_a_batch_without_a_server_exits_with_4(tmp_path: Path, nobody: str) -> None:
    (tmp_path / "a.jpg").touch()
    batch = ended(*DARKROOM, "batch", str(tmp_path), "--model", "a/b", "--url", nobody)
    assert batch.returncode == 4
    assert nobody in batch.stderr
    assert "Traceback" not in batch.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_the_folder_script_without_a_server_exits_with_4(tmp_path: Path, nobody: str) -> None:
    (tmp_path / "a.jpg").touch()
    script = ended(*LOCAL_BATCH, str(tmp_path), "--url", nobody)
    assert script.returncode == 4
    assert "Traceback" not in script.stderr
