"""A real Docker Engine: the one of this machine, or Debian's dockerd where none runs.

Ours is shared by all who ask for it at once. A process of its own keeps it (`python -m
infra.docker_engine`, which `start` starts): it holds the engine up while anyone holds USERS, takes
it down with its containers when nobody does any more, however they ended, and leaves the images for
the next time.
"""

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGTERM

import psutil

from infra.cache import cache_root
from infra.errors import MissingTools, ServerFailed
from infra.process import POLL_S, Command, run_tool, spawn, stop_tree
from infra.server import READY_DEADLINE_S, STOP_DEADLINE_S
from infra.tools import DOCKER, DOCKERD, Tool, require

SYSTEM = "unix:///var/run/docker.sock"
USERS = "docker-users.lock"
KEEPER = "docker-keeper.lock"
LOOK_S = 0.5
ROOT_LINE = "sudo apt-get update && sudo apt-get install -y docker.io && sudo usermod -aG docker "


def tools() -> list[Tool]:
    """The programs that an engine on this machine still needs."""
    return [] if _running_here() else [DOCKERD, DOCKER]


class DockerEngine:
    """A context manager: an engine is there within it, and `host` is its DOCKER_HOST."""

    def __init__(self) -> None:
        self.host = ""
        self._using = ExitStack()

    def start(self) -> None:
        """Wait until an engine answers, after installing and starting ours where there is none.

        MissingTools if an administrator must act first, ServerFailed if ours does not come up.
        """
        self.host = _running_here() or ""
        if self.host:
            return
        if os.geteuid() != 0:
            line = ROOT_LINE + (os.environ.get("USER") or "YOU")
            raise MissingTools(f"no Docker Engine answers; run, and log in again: {line}", line)
        require([DOCKERD, DOCKER])
        folder = _folder()
        # Waits for one that is being taken down; then none is taken down while we hold it.
        self._using.enter_context(_lock(USERS, fcntl.LOCK_SH))
        try:
            self._await_ours(folder)
        except BaseException:
            self.stop()
            raise

    def _await_ours(self, folder: Path) -> None:
        self.host = _own_host(folder)
        if answers(self.host):
            return
        keeper: Command = ["setsid", "--fork", sys.executable, "-m", "infra.docker_engine"]
        log = folder / "dockerd.log"
        run_tool("the Docker Engine's keeper", keeper, log=log, cwd=Path(__file__).parent.parent)
        deadline = time.monotonic() + READY_DEADLINE_S
        while not answers(self.host):
            if time.monotonic() > deadline:
                raise ServerFailed("dockerd", f"did not answer in {READY_DEADLINE_S:.0f} s", log)
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Leave it. If it is ours and nobody else uses it, it is gone a few seconds later."""
        self._using.close()
        self.host = ""

    def __enter__(self) -> "DockerEngine":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _running_here() -> str | None:
    """The engine that the caller named, or the machine's own."""
    for host in (os.environ.get("DOCKER_HOST"), SYSTEM):
        if host and answers(host):
            return host
    return None


def _docker(host: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(DOCKER.path()), "--host", host, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answers(host: str) -> bool:
    """Whether there is an engine at that DOCKER_HOST."""
    return DOCKER.find() is not None and _docker(host, "version").returncode == 0


def _folder() -> Path:
    folder = cache_root() / "docker-engine"
    folder.mkdir(exist_ok=True)
    return folder


def _own_host(folder: Path) -> str:
    return f"unix://{folder}/docker.sock"


@contextmanager
def _lock(name: str, how: int) -> Iterator[None]:
    """BlockingIOError if `how` is not to wait for it. The kernel lets go of it if we die."""
    with open(cache_root() / name, "w", encoding="utf-8") as file:
        fcntl.flock(file, how)
        yield


def _command(folder: Path) -> Command:
    return [
        DOCKERD.path(),
        f"--host={_own_host(folder)}",
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'run'}",
        f"--pidfile={folder / 'dockerd.pid'}",
        "--log-level=warn",
    ]


def _keep() -> int:
    """Hold the engine up until nobody uses it: 0, or 1 if it ended by itself."""
    folder = _folder()
    with ExitStack() as users, ExitStack() as keeper:
        try:
            keeper.enter_context(_lock(KEEPER, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError:  # two asked at once, and the other keeps it
            return 0
        if not _is_dockerd(pid_file := folder / "dockerd.pid"):  # of before the machine's restart
            pid_file.unlink(missing_ok=True)
        engine = spawn(
            _command(folder),
            log=folder / "dockerd.log",
            env=os.environ,
            death_signal="TERM",
        )
        while engine.poll() is None:
            time.sleep(LOOK_S)
            with contextlib.suppress(BlockingIOError):
                users.enter_context(_lock(USERS, fcntl.LOCK_EX | fcntl.LOCK_NB))
                _clear(_own_host(folder))
                stop_tree(engine, SIGTERM, STOP_DEADLINE_S)
                return 0
    return 1


def _is_dockerd(pid_file: Path) -> bool:
    if not pid_file.exists():
        return False
    pid = int(pid_file.read_text(encoding="utf-8"))
    return psutil.pid_exists(pid) and psutil.Process(pid).name() == "dockerd"


def _clear(host: str) -> None:
    """Containers that their tests left, with volumes and networks."""
    for container in _docker(host, "ps", "--all", "--quiet").stdout.split():
        _docker(host, "rm", "--force", "--volumes", container)
    _docker(host, "network", "prune", "--force")
    _docker(host, "volume", "prune", "--force")


if __name__ == "__main__":
    sys.exit(_keep())
