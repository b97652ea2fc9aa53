"""captions.jsonl: one row a picture, in one file for the whole folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Lock

from cli.client import Result
from cli.errors import ItemFailed, UsageWrong
from cli.sidecars import Keeper, caption_of
from cli.whole_file import write_whole

NAME = "captions.jsonl"


class CaptionsFile(Keeper):
    """Rows `{file, caption | error, model, id}`; a picture with a caption is finished.

    Rows are appended whole, so a kill costs the last one at most. A row that a later one replaces
    stays until `close`, or the next run, writes the file anew.
    """

    def __init__(self, folder: Path, model: str) -> None:
        """Reads the file that is there. Raises UsageWrong if it is not ours, OSError."""
        self._folder, self._model = folder, model
        self._path = folder / NAME
        if self._path.is_symlink():  # it may lead anywhere, to a file that is not there yet too
            raise UsageWrong(f"{self._path} is a link: move it away, or put the file itself there")
        self._captions: dict[str, str] = {}  # file -> its row, a line
        self._errors: dict[str, str] = {}
        self._lock = Lock()
        self._closed = False
        self._stale = False  # whether the file holds more than the rows above
        if self._path.exists():
            self._read()
            self._tidy()

    def finished(self, image: Path) -> bool:
        return self._name(image) in self._captions

    def keep(self, image: Path, result: Result, id: str) -> None:
        name, caption = self._name(image), caption_of(result)
        row = _line({"file": name, "caption": caption, "model": self._model, "id": id})
        with self._lock:
            self._append(row)
            self._note(self._captions, name, row)

    def keep_error(self, image: Path, error: ItemFailed) -> None:
        """An earlier caption stays: only a new caption replaces it."""
        name = self._name(image)
        row = _line({"file": name, "error": str(error), "model": self._model, "id": None})
        with self._lock:
            if name not in self._captions:
                self._append(row)
                self._note(self._errors, name, row)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._tidy()

    def _name(self, image: Path) -> str:
        return image.relative_to(self._folder).as_posix()

    def _note(self, rows: dict[str, str], name: str, row: str) -> None:
        self._stale |= name in self._captions or name in self._errors
        rows[name] = row
        if rows is self._captions:
            self._errors.pop(name, None)

    def _append(self, row: str) -> None:
        if self._closed:
            return  # the run was interrupted: the next one does this picture again
        content = _bytes(row)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            try:
                written = os.write(descriptor, content)
                if written < len(content):
                    raise OSError(f"{self._path}: the disk is full")
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    def _read(self) -> None:
        lines = self._path.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            try:
                name, rows = self._row(line)
            except ValueError as error:
                if number == len(lines) and not line.endswith(b"\n"):
                    self._stale = True  # the last run was killed while it wrote this
                    return
                raise UsageWrong(
                    f"{self._path}:{number} is not a row of ours: move the file away"
                ) from error
            self._stale |= not line.endswith(b"\n")
            if rows is self._captions or name not in self._captions:
                self._note(rows, name, line.decode().rstrip("\r\n") + "\n")
            else:
                self._stale = True

    def _row(self, line: bytes) -> tuple[str, dict[str, str]]:
        """The file's name in a row, and where the row belongs. Raises ValueError."""
        match json.loads(line):
            case {"file": str(name), "caption": str()}:
                return name, self._captions
            case {"file": str(name), "error": str()}:
                return name, self._errors
        raise ValueError("neither a caption nor an error")

    def _tidy(self) -> None:
        if self._stale:
            rows = [*self._captions.values(), *self._errors.values()]
            write_whole(self._path, _bytes("".join(rows)))
            self._stale = False


def _line(row: dict[str, str | None]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _bytes(text: str) -> bytes:
    """A file name that is no text becomes an escape, which JSON gives back as it was."""
    return text.encode("utf-8", "backslashreplace")
