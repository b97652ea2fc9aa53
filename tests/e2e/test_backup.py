"""The commands of docs/operating.md: a backup in the middle of work, everything lost, a restore."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx2
import pytest

from infra.tools import Tool, require
from tests.e2e.stack import PLAIN, PROJECT, Json, Stack, embedded, eventually, on_servers
from tests.e2e.test_migrate import picture

TOOLS = [
    Tool("rclone", lambda: _on_path("rclone")),
    Tool("sqlite3", lambda: _on_path("sqlite3")),
    Tool("postgresql-client", lambda: _on_path("pg_dump")),
]
SETTINGS = {"DARKROOM_SLOTS": "2"}
pytestmark = pytest.mark.timeout(900)
ECHO, SKETCH = "darkroom/echo", "darkroom/pencil-sketch"


def _on_path(program: str) -> Path | None:
    found = shutil.which(program)
    return Path(found) if found else None


def documented(title: str) -> str:
    """The block of shell whose first line is that remark."""
    text = (PROJECT / "docs" / "operating.md").read_text()
    [found] = re.findall(rf"```sh\n# {re.escape(title)}\n(.*?)```", text, re.DOTALL)
    return str(found)


class Place:
    """A stack, and what the documented commands need to know of it."""

    def __init__(self, kind: str, folder: Path, servers: dict[str, str]) -> None:
        self.kind, self.servers = kind, servers
        if kind == "embedded":
            self.stack = embedded(folder, **SETTINGS)
        else:
            self.stack = on_servers(folder, servers, **SETTINGS)
        self.names: dict[str, str] = {}
        if kind == "servers":
            self.names = self._names()

    def _names(self) -> dict[str, str]:
        """Another bucket of the same server stands in for another server."""
        settings = self.stack.environment
        bucket, endpoint = re.fullmatch(
            r"s3://(.+)\?endpoint=(.+)", settings["DARKROOM_OBJECT_STORE_URL"]
        ).groups()  # type: ignore[union-attr]
        names = {
            "BUCKET": bucket,
            "LEDGER": settings["DARKROOM_DATABASE_URL"].replace("+asyncpg", ""),
            "RCLONE_CONFIG_BACKUP_TYPE": "alias",
            "RCLONE_CONFIG_BACKUP_REMOTE": f"store:backup-{bucket}",
        }
        store = {"TYPE": "s3", "PROVIDER": "Minio", "ENDPOINT": endpoint, "ENV_AUTH": "true"}
        return names | {f"RCLONE_CONFIG_STORE_{name}": value for name, value in store.items()}

    def run(self, script: str) -> None:
        ended = subprocess.run(
            ["bash", "-euc", script],
            cwd=self.stack.folder,
            # rclone takes no authorities of the caller's own; nothing here speaks TLS.
            env={**self.stack.environment, **self.names, "AWS_CA_BUNDLE": ""},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr

    def destroy(self) -> None:
        """Everything, the log too; a new one is in its place."""
        self.stack.kill()
        if self.kind == "embedded":
            self.run("rm -rf data")
            return
        self.run('rclone purge "store:$BUCKET"')
        asyncio.run(_emptied(self.names["LEDGER"]))
        log = self.stack.environment["DARKROOM_JOB_LOG_URL"]
        new = re.sub(r"prefix=.*", f"prefix=t{secrets.token_hex(6)}.", log)
        self.stack.environment["DARKROOM_JOB_LOG_URL"] = new


async def _emptied(ledger: str) -> None:
    server, _, name = ledger.rpartition("/")
    connection = await asyncpg.connect(f"{server}/postgres")
    await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await connection.execute(f'CREATE DATABASE "{name}"')
    await connection.close()


@pytest.fixture(params=["embedded", "servers"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    require(TOOLS)
    servers = {} if request.param == "embedded" else request.getfixturevalue("servers")
    made = Place(request.param, tmp_path, servers)
    yield made
    made.stack.kill()


def submit(stack: Stack, prompt: str, **asked: object) -> Json:
    body = {"model": ECHO, "input": {"prompt": prompt, **asked}}
    reply = httpx2.post(f"{stack.url}/v1/predictions", json=body, timeout=60, **PLAIN)
    assert reply.status_code == 202, reply.text
    job: Json = reply.json()
    return job


@contextmanager
def load(stack: Stack) -> Iterator[list[Json]]:
    """Jobs that are accepted all the time."""
    accepted: list[Json] = []
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            accepted.append(submit(stack, "load"))

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        eventually(lambda: len(accepted) > 20)
        yield accepted
    finally:
        stop.set()
        thread.join()


def result(stack: Stack, job: Json) -> tuple[str, bytes]:
    path = httpx2.URL(job["access_link"]).path
    reply = httpx2.get(f"{stack.url}{path}", follow_redirects=True, timeout=60, **PLAIN)
    assert reply.status_code == 200, reply.text
    return reply.headers["content-type"], reply.content


def test_what_was_accepted_before_a_backup_ends_after_a_restore(place: Place) -> None:
    stack = place.stack
    stack.start()
    done = [submit(stack, "done"), stack.submit(picture(), SKETCH)]
    for job in done:
        assert stack.ended(job["id"])["status"] == "succeeded"
    results = [result(stack, job) for job in done]
    sketch = stack.submit(picture(), SKETCH)
    running = submit(stack, "running", delay=20)
    eventually(lambda: stack.job(running["id"])["status"] == "processing")
    with load(stack) as accepted:
        before = [*done, running, sketch, *accepted]
        place.run(documented(f"backup: {place.kind}"))
    place.destroy()

    place.run(documented(f"restore: {place.kind}"))
    if place.kind == "embedded":  # the mode in which processes share a file is kept in the file
        place.run("test \"$(sqlite3 data/ledger.sqlite 'PRAGMA journal_mode')\" = wal")
    stack.start()
    ends = {job["id"]: stack.ended(job["id"])["status"] for job in before}
    assert set(ends.values()) == {"succeeded"}, ends
    assert [result(stack, job) for job in done] == results
    assert result(stack, running)[1].strip() == b"running"
    assert result(stack, sketch)[1] == results[1][1]
    stack.stop()
