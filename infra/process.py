"""Processes that never outlive the Python process which started them (Linux)."""

import contextlib
import functools
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from infra.errors import ToolFailed

KILL_DEADLINE_S = 10.0
POLL_S = 0.05

Command = Sequence[str | Path]


@functools.cache
def _spawner(pid: int) -> ThreadPoolExecutor:
    """The one thread from which the process `pid`, this one, starts every server.

    The kernel sends the parent-death signal when the *thread* that forked ends, so a server that
    a short-lived worker thread started would die with that worker. This one lives as long as the
    interpreter. It is looked up by process because a forked child inherits no threads.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"infra-spawner-{pid}")


def spawn(
    command: Command,
    *,
    log: Path,
    env: Mapping[str, str],
    user: str | None = None,
    cwd: Path | None = None,
    death_signal: str = "KILL",
    stdin: bytes = b"",
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, its output appended to `log`.

    It gets `death_signal` when this Python process ends in whatever way. `user` is whom it runs
    as, which only root may choose. `stdin` must fit a pipe's buffer (64 KiB).
    """
    identity = [f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
    # setpriv sets the signal after the change of user, which would have cleared it.
    whole = ["setpriv", *identity, "--pdeathsig", death_signal, "--", *map(str, command)]

    def launch() -> subprocess.Popen[bytes]:
        with open(log, "ab") as output:
            return subprocess.Popen(
                whole,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )

    process = _spawner(os.getpid()).submit(launch).result()
    assert process.stdin is not None
    # One that ended before it read its input tells why by its exit code.
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(stdin)
    return process


def run_tool(
    name: str,
    command: Command,
    *,
    log: Path,
    env: Mapping[str, str] = os.environ,
    user: str | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
) -> None:
    """Run a build or set-up command to its end; ToolFailed unless it exits with 0."""
    process = spawn(command, log=log, env=env, user=user, cwd=cwd, stdin=stdin)
    try:
        code = process.wait()
    except BaseException:
        kill_tree(process)
        raise
    if code != 0:
        raise ToolFailed(name, f"failed with exit code {code}", log)


def stop_tree(process: subprocess.Popen[bytes], how: signal.Signals, deadline_s: float) -> None:
    """Ask a process to end with the signal `how`; after `deadline_s` seconds kill what is left."""
    family = _descendants(process)
    process.send_signal(how)
    try:
        process.wait(deadline_s)
    except subprocess.TimeoutExpired:
        family = _descendants(process)
        process.kill()
        process.wait()
    _kill_all(family)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a process and all that it started, and wait until they are gone."""
    family = _descendants(process)
    process.kill()
    process.wait()
    _kill_all(family)


def _descendants(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    if process.poll() is not None:
        return []
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _kill_all(family: list[psutil.Process]) -> None:
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    deadline = time.monotonic() + KILL_DEADLINE_S
    while any(map(is_alive, family)) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs. A zombie does not: its files and ports are closed."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
