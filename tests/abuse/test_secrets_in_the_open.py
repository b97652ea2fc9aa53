"""Passwords of servers that do not answer or are misspelled, looked for in what processes say."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.stack import PROJECT, eventually

CANARY = "c4naryOfAPassw0rd"
HELD = {name: f"{CANARY}-{name}" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")} | {
    "HF_TOKEN": f"{CANARY}-hub",
    "PGPASSWORD": f"{CANARY}-pg",
}
MORE_SECONDS = 5.0  # for a second try, and a third
PROGRAMS = (
    ("api", "serve"),
    ("api", "record"),
    ("api", "notify"),
    ("scaler",),
    ("consumers", "darkroom/shapes"),
    ("cli", "doctor"),
    ("cli", "repair"),
    ("cli", "keys", "list"),
)


@pytest.fixture
def closed() -> Iterator[str]:
    """An address at which nobody answers."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{unheard.getsockname()[1]}"


def said(words: tuple[str, ...], settings: dict[str, str], folder: Path) -> str:
    """What a process writes until it ends, or for some seconds after its first line."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")}
    environment = {**plain, **HELD, **settings, "PYTHONPATH": str(PROJECT)}
    output = folder / f"{uuid.uuid4()}.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    eventually(lambda: output.stat().st_size or process.poll() is not None)
    try:
        process.wait(timeout=MORE_SECONDS)
    except subprocess.TimeoutExpired:  # it waits for its servers, as it should
        process.kill()
        process.wait()
    return output.read_text()


def test_no_password_is_shown_where_servers_do_not_answer_or_are_misspelled(
    tmp_path: Path, closed: str
) -> None:
    away = {
        "DARKROOM_JOB_LOG_URL": f"kafka://me:{CANARY}@{closed}?security_protocol=SASL_PLAINTEXT",
        "DARKROOM_OBJECT_STORE_URL": f"s3://bucket?endpoint=http://{closed}",
        "DARKROOM_DATABASE_URL": f"postgresql+asyncpg://me:{CANARY}@{closed}/darkroom",
        "DARKROOM_PORT": closed.rpartition(":")[2],
        "DARKROOM_LOG_LEVEL": "debug",
        "DARKROOM_DATA_DIR": str(tmp_path),
    }
    wrong = [
        {"DARKROOM_JOB_LOG_URL": f"kafka://me:{CANARY}@{closed}?security_protocol=NONE"},
        {"DARKROOM_JOB_LOG_URL": f"kafka://me:{CANARY}/x@{closed}"},
        {"DARKROOM_OBJECT_STORE_URL": f"s3://{CANARY}:{CANARY}@bucket"},
        {"DARKROOM_DATABASE_URL": f"postgresql+asyncpg://me:{CANARY}/x@{closed}/darkroom"},
        {"DARKROOM_DATABASE_URL": f"mysql://me:{CANARY}@{closed}/darkroom"},
    ]
    runs = [(words, away) for words in PROGRAMS]
    runs += [(("api", "record"), {**away, **change}) for change in wrong]
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda run: said(run[0], run[1], tmp_path), runs))

    for (words, _), output in zip(runs, outputs, strict=True):
        assert output, words
        assert CANARY not in output, words
