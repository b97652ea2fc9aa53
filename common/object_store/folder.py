"""The object store in a folder, for processes on one host."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import ObjectMissing, SettingsInvalid, StoreUnavailable
from common.object_store.base import ObjectInfo, ObjectStore
from common.object_store.keys import check_key, check_prefix, folder_of

# No key has a `~`, so nothing in here is ever an object. It lies inside the store's folder because
# a rename is atomic on one file system only; and while it is missing, the store is not there (an
# unmounted disk leaves an empty folder, and "no such object" would be a lie).
_UNFINISHED = "~unfinished"
_NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_ABANDONED_S = 3600.0  # no put lasts that long: its process died


class FolderObjectStore(ObjectStore):
    """Each object is a file, written beside its place, synced, and moved there whole."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._unfinished = root / _UNFINISHED

    @classmethod
    async def open(cls, url: str) -> FolderObjectStore:
        """The store at `file:///ABSOLUTE/FOLDER`; the path is taken as it stands, unquoted.

        Raises StoreUnavailable, and SettingsInvalid for a URL that names no absolute folder.
        """
        path = Path(url.removeprefix("file://"))
        if not path.is_absolute():
            raise SettingsInvalid(
                f"DARKROOM_OBJECT_STORE_URL: {url!r} needs an absolute folder: file:///FOLDER"
            )
        store = cls(path)
        await asyncio.to_thread(store._prepare)
        return store

    async def put(self, key: str, content: bytes, content_type: str) -> None:  # noqa: ARG002
        """As the contract says. The type is not kept: whoever reads the bytes knows it."""
        await asyncio.to_thread(self._put, check_key(key), content)

    async def get(self, key: str) -> bytes:
        return await asyncio.to_thread(self._get, check_key(key))

    async def link(self, key: str, *, expires_in: int) -> str | None:  # noqa: ARG002
        """None: only a server could answer a link."""
        check_key(key)
        return None

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._delete, check_key(key))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        check_prefix(prefix)
        waiting: list[ObjectInfo | str] = [folder_of(prefix)]
        while waiting:
            entry = waiting.pop()
            if isinstance(entry, ObjectInfo):
                yield entry
            else:
                waiting.extend(reversed(await asyncio.to_thread(self._scan, entry, prefix)))

    def _prepare(self) -> None:
        with self._available():
            self._unfinished.mkdir(parents=True, exist_ok=True)
            for file in self._unfinished.iterdir():
                if file.stat().st_mtime < time.time() - _ABANDONED_S:
                    file.unlink(missing_ok=True)

    def _put(self, key: str, content: bytes) -> None:
        target = self._root / key
        unfinished = self._unfinished / uuid.uuid4().hex
        with self._available():
            try:
                _write(unfinished, content)
                self._move(unfinished, target)
            except OSError:
                unfinished.unlink(missing_ok=True)
                raise

    def _move(self, file: Path, target: Path) -> None:
        while True:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)
            except FileNotFoundError:
                if not file.exists():
                    raise
                continue  # a delete took the empty folder away in between
            break
        # All the way up: who made a folder a moment ago may not have synced it yet.
        for folder in target.parents:
            _sync_folder(folder)
            if folder == self._root:
                break

    def _get(self, key: str) -> bytes:
        with self._available():
            try:
                return (self._root / key).read_bytes()
            except _NOT_THERE as error:
                self._unfinished.stat()
                raise ObjectMissing(key) from error

    def _delete(self, key: str) -> None:
        file = self._root / key
        with self._available():
            self._unfinished.stat()
            with suppress(*_NOT_THERE):
                file.unlink()
        for folder in file.parents:
            if folder == self._root:
                break
            try:
                folder.rmdir()
            except OSError:
                break  # not empty: others' objects lie there

    def _scan(self, folder: str, prefix: str) -> Sequence[ObjectInfo | str]:
        """The objects of one folder, and its sub-folders' names, in key order."""
        found: list[tuple[str, ObjectInfo | str]] = []
        with self._available():
            self._unfinished.stat()
            try:
                entries = list(os.scandir(self._root / folder))
            except _NOT_THERE:
                return []
            for entry in entries:
                key = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name == _UNFINISHED:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    # What is in it may start with the prefix if either starts with the other.
                    if f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/"):
                        found.append((f"{key}/", key))
                elif key.startswith(prefix):
                    found.extend((key, info) for info in _info(key, entry))
        return [entry for _, entry in sorted(found, key=lambda named: named[0])]

    @contextmanager
    def _available(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(f"the object store's folder {self._root}: {error}") from error


def _write(file: Path, content: bytes) -> None:
    with file.open("xb", buffering=0) as opened:
        rest = memoryview(content)
        while rest:
            rest = rest[opened.write(rest) :]
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _info(key: str, entry: os.DirEntry[str]) -> Iterator[ObjectInfo]:
    """One object, or none if it was deleted since its folder was read."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    yield ObjectInfo(key=key, size=status.st_size, modified_at=status.st_mtime)
