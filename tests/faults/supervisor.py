"""Starts programs, and starts again what dies, as systemd or Docker would."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from common.crash_points import SETTING
from common.processes import end_with_parent

LOOK_SECONDS = 0.05
_HIT = re.compile(rb"^crash point (\S+)$", re.MULTILINE)


@dataclass
class Program:
    """One `python -m ...`. `crash_at` gives DARKROOM_CRASH_AT for each start, counted from 0."""

    name: str
    words: Sequence[str]
    environment: Mapping[str, str]
    output: Path
    crash_at: Callable[[int], str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    held: bool = False  # not started again while it is
    _read: int = 0  # bytes of the output that were looked at

    def start(self, folder: Path) -> None:
        """Once more, with the output going on where it ended."""
        armed = {SETTING: self.crash_at(self.starts)}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.words],
                cwd=folder,
                env={**self.environment, **armed},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(end_with_parent, os.getpid(), signal.SIGTERM),
            )
        self.starts += 1

    def new_hits(self) -> list[str]:
        """Crash points that it, or a child of it, said it died at since the last call."""
        if not self.output.exists():
            return []
        with self.output.open("rb") as output:
            output.seek(self._read)
            text = output.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        return [found.decode() for found in _HIT.findall(whole)]


@dataclass(frozen=True)
class Death:
    """One process that ended though nobody had asked it to."""

    at: float  # when it was noticed; seconds since the epoch
    program: str
    code: int  # negative: the signal


@dataclass
class Supervisor:
    """A context manager; on leaving, everything is told to stop, and waited for."""

    folder: Path
    environment: Mapping[str, str]
    programs: dict[str, Program] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)  # by crash point
    hit_at: list[float] = field(default_factory=list)  # of all hits; seconds since the epoch

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._lock = threading.RLock()
        self._watcher = threading.Thread(target=self._watch)

    def add(
        self,
        name: str,
        *words: str,
        crash_at: str | Callable[[int], str] = "",
        **settings: str,
    ) -> Program:
        """A program, not started yet. A text for `crash_at` holds at every start."""
        armed = crash_at if callable(crash_at) else lambda _start, text=crash_at: text
        program = Program(
            name=name,
            words=words,
            environment={**self.environment, **settings},
            output=self.folder / f"{name}.txt",
            crash_at=armed,
        )
        with self._lock:
            self.programs[name] = program
        return program

    def start(self, *names: str) -> None:
        """These, or all."""
        with self._lock:
            for name in names or tuple(self.programs):
                self.programs[name].start(self.folder)
        if not self._watcher.is_alive():
            self._watcher.start()

    def pid(self, name: str) -> int:
        process = self.programs[name].process
        assert process is not None
        return process.pid

    def members(self, name: str) -> list[psutil.Process]:
        """Its process and all below it, that one first; none while it is down."""
        if not self._started(name):
            return []
        try:
            parent = psutil.Process(self.pid(name))
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def engines(self, name: str) -> list[psutil.Process]:
        """Engine children of a consumer, or of all consumers below a scaler."""
        return [each for each in self.members(name) if _is_engine(each)]

    def signal(self, name: str, by: signal.Signals = signal.SIGKILL) -> int:
        """To its process alone, not to its children; the pid that got it."""
        pid = self.pid(name)
        os.kill(pid, by)
        return pid

    def terminate(self, name: str) -> None:
        """SIGTERM, if it runs; it is started again unless it is held."""
        process = self.programs[name].process
        if process is not None and process.poll() is None:
            process.terminate()

    def note_hit(self) -> None:
        """A fault that somebody else brought about, just now: recovery is counted from it."""
        with self._lock:
            self.hit_at.append(time.time())

    def hold(self, name: str, *, held: bool = True) -> None:
        """Whether it stays down when it ends."""
        with self._lock:
            self.programs[name].held = held

    def stop(self, *, seconds: float = 60.0) -> None:
        """SIGTERM to all, SIGKILL to what is left of them after `seconds`. No more restarts."""
        self._over.set()
        if self._watcher.is_alive():
            self._watcher.join()
        found = [each for name in self.programs for each in self.members(name)]
        for program in self.programs.values():
            if program.process is not None and program.process.poll() is None:
                program.process.send_signal(signal.SIGCONT)
                program.process.terminate()
        deadline = time.monotonic() + seconds
        for program in self.programs.values():
            if program.process is not None:
                try:
                    program.process.wait(max(deadline - time.monotonic(), 0.1))
                except subprocess.TimeoutExpired:
                    program.process.kill()
                    program.process.wait()
        _, alive = psutil.wait_procs(found, timeout=15)
        for process in alive:
            process.kill()
        self._look(restart=False)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _started(self, name: str) -> bool:
        return self.programs[name].process is not None

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._look(restart=True)

    def _look(self, *, restart: bool) -> None:
        with self._lock:
            now = time.time()
            for program in self.programs.values():
                for point in program.new_hits():
                    self.hits[point] += 1
                    self.hit_at.append(now)
                process = program.process
                if not restart or program.held or process is None or process.poll() is None:
                    continue
                self.deaths.append(Death(now, program.name, process.returncode))
                program.start(self.folder)


def _is_engine(process: psutil.Process) -> bool:
    try:
        return "consumers.engine_main" in process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
