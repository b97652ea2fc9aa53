"""A doorbell between the processes that share one file: it tells that a topic has something new.

Each process binds a datagram socket in a folder that belongs to the file. A ring that is lost costs
a reader its poll interval, nothing else. The socket also shows whether its process lives: one that
exists and refuses has lost its process.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

_LARGEST_RING_BYTES = 65_536
_UNFINISHED = "."  # names of sockets that are not bound yet begin with it

Wake = Callable[[], None]


class Doorbell:
    """This process's socket in the folder. Use it on the event loop that made it."""

    def __init__(self, file: Path) -> None:
        """Raises OSError where the folder cannot be had or belongs to somebody else."""
        self.name = secrets.token_hex(8)
        self._folder, self._socket = _bind(file, self.name)
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[Wake, frozenset[str]] = {}
        self._news: set[str] = set()
        self._loop.add_reader(self._socket, self._answer)

    def listen(self, topics: Collection[str], wake: Wake) -> None:
        """Call `wake` whenever one of `topics` may have something new, until `ignore(wake)`."""
        self._listeners[wake] = frozenset(topics)

    def ignore(self, wake: Wake) -> None:
        self._listeners.pop(wake, None)

    def wake_all(self) -> None:
        """Wake every listener of this process."""
        for wake in tuple(self._listeners):
            wake()

    def ring(self, topics: Iterable[str]) -> None:
        """Wake the listeners to `topics` everywhere. Rings of one turn of the loop are one."""
        if not self._news:
            self._loop.call_soon(self._tell)
        self._news.update(topics)

    def dead(self) -> list[str]:
        """The names of sockets in the folder whose process is gone."""
        return [name for name in self._others() if _refuses(self._folder / name)]

    def bury(self, name: str) -> None:
        """Remove a dead socket, when nothing is left that its name must prove dead."""
        (self._folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Take the socket away, and with the last one the folder."""
        self._loop.remove_reader(self._socket)
        self.bury(self.name)
        self._socket.close()
        with suppress(OSError):
            self._folder.rmdir()

    def _others(self) -> list[str]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return [name for name in names if name != self.name and not name.startswith(_UNFINISHED)]

    def _tell(self) -> None:
        topics, self._news = self._news, set()
        if self._socket.fileno() < 0:
            return
        self._wake(topics)
        ring = "\n".join(topics).encode()
        for name in self._others():
            # Dead, gone, or with rings enough that it has not heard yet.
            with suppress(ConnectionRefusedError, FileNotFoundError, BlockingIOError):
                self._socket.sendto(ring, os.fspath(self._folder / name))

    def _answer(self) -> None:
        topics: set[str] = set()
        with suppress(BlockingIOError):
            while True:
                topics.update(self._socket.recv(_LARGEST_RING_BYTES).decode().split("\n"))
        self._wake(topics)

    def _wake(self, topics: set[str]) -> None:
        for wake, wanted in tuple(self._listeners.items()):
            if not wanted.isdisjoint(topics):
                wake()


def _folder_of(file: Path) -> Path:
    """Short, because a socket's path may have 103 characters; private, because it is in /tmp."""
    digest = hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"darkroom-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone: remove it")
    return folder


def _bind(file: Path, name: str) -> tuple[Path, socket.socket]:
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        bell.setblocking(False)
        while True:
            # Whoever closes the last other bell may remove the folder in between.
            with suppress(FileNotFoundError):
                folder = _folder_of(file)
                # The file is there a moment before the socket answers, and would look dead.
                bell.bind(os.fspath(folder / f"{_UNFINISHED}{name}"))
                os.rename(folder / f"{_UNFINISHED}{name}", folder / name)
                return folder, bell
    except OSError:
        bell.close()
        raise


def _refuses(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as visitor:
        visitor.setblocking(False)
        try:
            visitor.connect(os.fspath(path))
        except ConnectionRefusedError:
            return True
        except FileNotFoundError:
            return False
    return False
