"""A running stack that asks for keys, for tests that come in from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.stack import Stack, embedded, on_servers

MODEL = "darkroom/echo"
SETTINGS = {
    "DARKROOM_AUTH": "on",
    "DARKROOM_KEY_REQUESTS_PER_SECOND": "0",  # no limit
    "DARKROOM_TITLE_MODEL": MODEL,
    "DARKROOM_SLOTS": "1",
}


@dataclass(frozen=True)
class Door:
    """A stack, and keys to it."""

    stack: Stack
    admin: str

    def key(self, *words: str) -> tuple[str, str]:
        """A new key's id and secret; `words` are options of `darkroom keys create`."""
        made = json.loads(self.keys("create", "--json", *words))
        return made["id"], made["key"]

    def keys(self, *words: str) -> str:
        """What `darkroom keys` prints."""
        command = [sys.executable, "-m", "cli", "keys", *words]
        ran = subprocess.run(
            command,
            env=self.stack.environment,
            cwd=self.stack.folder,
            capture_output=True,
            check=True,
            timeout=120,
        )
        return ran.stdout.decode()

    def client(self, secret: str | None) -> httpx2.Client:
        """A client that shows the key."""
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        return httpx2.Client(base_url=self.stack.url, headers=headers, timeout=90, trust_env=False)


def echo_catalogue(folder: Path) -> dict[str, str]:
    """The setting of a catalogue whose one model needs no weights."""
    names = folder / "model_names.txt"
    names.write_text(f"{MODEL} task=echo\n")
    return {"DARKROOM_MODEL_NAMES": str(names)}


@pytest.fixture(scope="session")
def door(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    """The embedded stack, as it is on a host that others reach; in a soak the one on servers."""
    folder = tmp_path_factory.mktemp("door")
    settings = {**SETTINGS, **echo_catalogue(folder)}
    if os.environ.get("SOAK"):
        stack = on_servers(folder, request.getfixturevalue("servers"), **settings)
    else:
        stack = embedded(folder, **settings)
    stack.start()
    opened = Door(stack, "")
    _, admin = opened.key("--scope", "admin")
    yield Door(stack, admin)
    stack.stop()
    shutil.rmtree(folder / "data", ignore_errors=True)


@pytest.fixture(scope="session")
def document(door: Door) -> dict[str, Any]:
    """The OpenAPI document as it is served."""
    with door.client(None) as client:
        read: dict[str, Any] = client.get("/openapi.json").raise_for_status().json()
    return read
