"""Darkroom as a user runs it: real processes, on either stack."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx2
import psutil

PROJECT = Path(__file__).resolve().parents[2]
EMBEDDED = (("cli", "up"),)
SERVERS = (("api", "serve"), ("api", "record"), ("api", "notify"), ("scaler",))
Json = dict[str, Any]
# Nothing here speaks TLS, and to make ready for it costs each client 50 ms of the CPU.
PLAIN: Json = {"trust_env": False, "verify": False}
T = TypeVar("T")


def eventually(read: Callable[[], T | None], seconds: float = 300.0) -> T:
    """The first true value of `read`; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := read():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not so after {seconds} s: {read}")


class Stack:
    """The processes in a session of their own, so that all of them can be found and killed."""

    def __init__(
        self, folder: Path, programs: Sequence[Sequence[str]], settings: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.programs = programs
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("DARKROOM_")
        } | {
            "DARKROOM_PORT": str(self.port),
            "DARKROOM_DATA_DIR": str(folder / "data"),
            "PYTHONPATH": str(PROJECT),
            **settings,
        }
        self.command = [sys.executable, "-m"]  # before the words of a program
        self.output = folder / "output.txt"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, extra: Sequence[Sequence[str]] = ()) -> None:
        for words in (*self.programs, *extra):
            self.spawn(words)
        eventually(self.ready)

    def spawn(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                [*self.command, *words],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def ready(self) -> bool:
        ended = [process.args for process in self.processes if process.poll() is not None]
        assert not ended, f"{ended} ended: {self.output.read_text()[-3000:]}"
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=60, **PLAIN).status_code == 200
        except httpx2.TransportError:
            return False

    def members(self) -> list[psutil.Process]:
        """Every process of the stack, consumers and engines included."""
        sessions = {process.pid for process in self.processes}
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) in sessions and process.status() != "zombie":
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def engines(self) -> list[psutil.Process]:
        return [p for p in self.members() if "consumers.engine_main" in p.cmdline()]

    def stop(self, by: signal.Signals = signal.SIGINT) -> None:
        """As Ctrl-C does it: a signal to all, and then nothing may be left."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, by)
        for process in self.processes:
            process.wait(timeout=90)
        eventually(lambda: not self.members())
        self.processes.clear()

    def kill(self) -> None:
        """SIGKILL to everything at once."""
        members = self.members()
        for member in members:
            with suppress(psutil.NoSuchProcess):  # it died with its parent, just now
                member.kill()
        psutil.wait_procs(members, timeout=30)
        for process in self.processes:
            process.wait(timeout=30)
        self.processes.clear()

    def key(self, *words: str) -> str:
        """A new API key, by the command; `words` as it takes them."""
        command = [sys.executable, "-m", "cli", "keys", "create", *words, "--json"]
        made = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, check=True
        )
        key: str = json.loads(made.stdout)["key"]
        return key

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=90, **PLAIN)

    def submit(self, image: bytes, model: str, **fields: str) -> Json:
        with self.client() as client:
            reply = client.post(
                "/v1/predictions", data={"model": model, **fields}, files={"image": image}
            )
        assert reply.status_code == 202, reply.text
        job: Json = reply.json()
        return job

    def job(self, id: str) -> Json:
        with self.client() as client:
            found: Json = client.get(f"/v1/predictions/{id}").raise_for_status().json()
        return found

    def ended(self, id: str, seconds: float = 400.0) -> Json:
        """The job once it has ended."""

        def look() -> Json | None:
            job = self.job(id)
            return job if job["status"] in ("succeeded", "failed", "canceled") else None

        return eventually(look, seconds)


def embedded(folder: Path, **settings: str) -> Stack:
    """One command, no servers."""
    return Stack(folder, EMBEDDED, settings)


def on_servers(folder: Path, servers: Mapping[str, str], **settings: str) -> Stack:
    """On Kafka, MinIO and Postgres: topics, bucket and tables are its own, and not there yet."""
    name = "t" + secrets.token_hex(6)
    log, store = servers["DARKROOM_JOB_LOG_URL"], servers["DARKROOM_OBJECT_STORE_URL"]
    database = servers["DARKROOM_DATABASE_URL"]
    create_database(database, name)
    own = {
        **servers,
        "DARKROOM_JOB_LOG_URL": f"{log}{'&' if '?' in log else '?'}prefix={name}.",
        "DARKROOM_OBJECT_STORE_URL": store.replace("s3://darkroom", f"s3://{name}", 1),
        "DARKROOM_DATABASE_URL": database.rpartition("/")[0] + "/" + name,
    }
    return Stack(folder, SERVERS, {**own, **settings})


def create_database(url: str, name: str) -> None:
    async def create() -> None:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        await connection.execute(f'CREATE DATABASE "{name}"')
        await connection.close()

    asyncio.run(create())


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
