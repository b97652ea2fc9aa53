"""What Kafka, MinIO and Postgres have in common: a life cycle, a port, a folder and a log."""

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from infra.errors import ServerFailed
from infra.process import POLL_S, Command, kill_tree, spawn, stop_tree
from infra.tools import Tool

HOST = "127.0.0.1"
READY_DEADLINE_S = 120.0
STOP_DEADLINE_S = 30.0
CONNECT_TIMEOUT_S = 1.0

# Variables meant for the caller's own Java, MinIO or Postgres must not reach ours.
_PASSED_ON = ("HOME", "LANG", "PATH", "TMPDIR", "TZ")


def plain_environment() -> dict[str, str]:
    """The few variables of the caller's environment that a server gets."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


class Server(ABC):
    """A server on loopback that keeps its port and its folder through every stop and start.

    `start` blocks until the server answers; `stop` and `kill` until its processes are gone.
    One thread at a time may call these.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    death_signal: ClassVar[str] = "KILL"
    user: str | None = None

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.data = directory / "data"
        self.log = directory / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    @abstractmethod
    def tools() -> list[Tool]:
        """The programs that an install on this machine still needs, or a start."""

    @staticmethod
    @abstractmethod
    def install() -> Path:
        """Put the server into the cache unless it is there; its folder of programs."""

    @abstractmethod
    def _prepare(self) -> None:
        """Lay out an empty `data` folder for the first start."""

    @abstractmethod
    def _command(self) -> Command: ...

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the running server does its work now."""

    def _environment(self) -> dict[str, str]:
        return plain_environment()

    @property
    def address(self) -> str:
        """`host:port`, where clients connect."""
        return f"{HOST}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process runs; it may not answer yet."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The server's main process, while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    def start(self) -> None:
        """Start the server and wait until it answers; nothing if it runs already.

        ServerFailed if it ends or does not answer within 120 s, ToolFailed if its data folder
        cannot be set up.
        """
        if self.running:
            return
        self._prepare_once()
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process = spawn(
            self._command(),
            log=self.log,
            env=self._environment(),
            user=self.user,
            cwd=self.directory,
            death_signal=self.death_signal,
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Let the server end in order, or kill it after 30 s; its data stay."""
        self._stop_by(self.stop_signal)

    def _stop_by(self, how: signal.Signals) -> None:
        if self._process is not None:
            stop_tree(self._process, how, STOP_DEADLINE_S)
            self._process = None

    def kill(self) -> None:
        """SIGKILL the server as a crash would; its data stay."""
        if self._process is not None:
            kill_tree(self._process)
            self._process = None

    def discard(self) -> None:
        """End it at once, with data that nobody needs any more."""
        self.kill()

    def restart(self) -> None:
        """Stop in order and start again on the same port with the same data."""
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Kill the server, erase its data, and start it empty on the same port."""
        self.kill()
        self._prepared.unlink(missing_ok=True)
        self.start()

    @property
    def _prepared(self) -> Path:
        return self.directory / "prepared"

    def _prepare_once(self) -> None:
        """Lay out the data folder, anew if an earlier attempt was cut short."""
        if self._prepared.exists():
            return
        if self.data.exists():
            shutil.rmtree(self.data)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data.mkdir()
        self._prepare()
        self._prepared.touch()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_DEADLINE_S
        while not self._answers():
            if not self.running:
                raise ServerFailed(self.name, "ended while starting", self.log)
            if time.monotonic() > deadline:
                raise ServerFailed(
                    self.name, f"did not answer within {READY_DEADLINE_S:.0f} s", self.log
                )
            time.sleep(POLL_S)

    def _log_since_start(self) -> str:
        with open(self.log, "rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")


def accepts_connections(port: int) -> bool:
    """Whether something on loopback accepts TCP connections at the port."""
    try:
        with socket.create_connection((HOST, port), CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False
