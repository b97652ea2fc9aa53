"""Postgres, from Debian's package."""

import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from infra.process import Command, run_tool
from infra.server import HOST, Server, plain_environment
from infra.tools import POSTGRES, Tool

ROLE = "darkroom"
DATABASE = "darkroom"
MAX_CONNECTIONS = 200

SETTINGS = {
    "listen_addresses": HOST,
    # The default folder for sockets belongs to the system's own Postgres.
    "unix_socket_directories": "",
    "max_connections": str(MAX_CONNECTIONS),
    # Tests kill this server and then count rows.
    "fsync": "on",
    # In the data folder, so that a killed server leaves nothing in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
    "log_line_prefix": "%m [%p] ",
}


def _unprivileged_user() -> str | None:
    """Whom Postgres runs as: it refuses root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@dataclass(frozen=True)
class Secure:
    """TLS alone, and a password of ROLE, by SCRAM."""

    password: str
    certificate: Path
    key: Path


class Postgres(Server):
    """A database that trusts every local user unless `secure`: for throw-away data only."""

    name = "postgres"
    # SIGTERM would wait for clients to leave; SIGINT ends their sessions in order.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT
    # Unlike SIGKILL this lets the main process take its children and shared memory with it.
    death_signal: ClassVar[str] = "QUIT"

    def __init__(self, directory: Path, port: int, secure: Secure | None = None) -> None:
        super().__init__(directory, port)
        self.secure = secure
        self.user = _unprivileged_user()

    def discard(self) -> None:
        """No checkpoint of a thousand tests' databases; SIGKILL would leave shared memory."""
        self._stop_by(signal.SIGQUIT)

    @staticmethod
    def tools() -> list[Tool]:
        return [POSTGRES]

    @staticmethod
    def install() -> Path:
        return POSTGRES.path().parent

    def _prepare(self) -> None:
        if self.user is not None:
            self.directory.chmod(0o711)
            shutil.chown(self.data, self.user)
        programs = self.install()
        layout = [f"--pgdata={self.data}", f"--username={ROLE}", "--auth=trust", "--no-sync"]
        self._run("initdb", [programs / "initdb", *layout, "--encoding=UTF8", "--locale=C"])
        if self.secure is not None:
            self._prepare_secure(self.secure)
        # Made without a server, so that a server which answers has its database.
        single: Command = [programs / "postgres", "--single", "-D", self.data, "-j", "postgres"]
        self._run("createdb", single, f"CREATE DATABASE {DATABASE};\n\n".encode())
        if self.secure is not None:
            password = f"ALTER ROLE {ROLE} PASSWORD '{self.secure.password}';\n\n"
            self._run("password", single, password.encode())

    def _prepare_secure(self, secure: Secure) -> None:
        """Its own copies of the key and the certificate: it takes a key of its own user alone."""
        (self.data / "pg_hba.conf").write_text("hostssl all all all scram-sha-256\n")
        for source, name in ((secure.certificate, "server.crt"), (secure.key, "server.key")):
            copy = self.data / name
            shutil.copy(source, copy)
            copy.chmod(0o600)
            if self.user is not None:
                shutil.chown(copy, self.user)

    def _run(self, name: str, command: Command, stdin: bytes = b"") -> None:
        run_tool(
            f"postgres {name}",
            command,
            log=self.log,
            env=plain_environment(),
            user=self.user,
            cwd=self.directory,
            stdin=stdin,
        )

    def _command(self) -> Command:
        settings = SETTINGS if self.secure is None else {**SETTINGS, "ssl": "on"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [self.install() / "postgres", "-D", self.data, f"--port={self.port}", *options]

    def _answers(self) -> bool:
        command: Command = [self.install() / "pg_isready", "-q", "-h", HOST, "-p", str(self.port)]
        return subprocess.run(command, env=plain_environment(), check=False).returncode == 0
