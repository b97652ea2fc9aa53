"""A model hub of this machine: what huggingface_hub asks of one, for the files of one folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.in_threads import in_threads

COMMIT = "c" * 40


class Hub(ThreadingHTTPServer):
    """Serves every file that lies in the folder, whatever it is, as the repository `name`."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.name, self.folder = name, folder
        self.url = ""
        self.asked: set[str] = set()  # the files, by their paths in the repository

    def paths(self) -> list[str]:
        """Of all its files."""
        found = (file for file in self.folder.rglob("*") if file.is_file())
        return sorted(file.relative_to(self.folder).as_posix() for file in found)

    def about(self) -> object:
        siblings = [{"rfilename": path} for path in self.paths()]
        return {"id": self.name, "sha": COMMIT, "siblings": siblings}

    def tree(self) -> object:
        return [
            {
                "type": "file",
                "path": path,
                "size": (self.folder / path).stat().st_size,
                "oid": _tag(self.folder / path),
            }
            for path in self.paths()
        ]


class _Request(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        api, files = f"/api/models/{self.server.name}", f"/{self.server.name}/resolve/"
        path = unquote(urlsplit(self.path).path)
        if path.startswith(f"{api}/tree/"):
            self._answer(200, json.dumps(self.server.tree()).encode())
        elif path == api or path.startswith(f"{api}/revision/"):
            self._answer(200, json.dumps(self.server.about()).encode())
        elif path.startswith(files):
            _, _, name = path.removeprefix(files).partition("/")
            self.server.asked.add(name)
            file = self.server.folder / name
            if file.is_file():
                self._answer(200, file.read_bytes(), _tag(file))
            else:
                self._answer(404)
        else:
            self._answer(404)

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes = b"", tag: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{tag}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def _tag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()


@contextmanager
def hub(name: str, folder: Path) -> Iterator[Hub]:
    serving = Hub(name, folder)
    with in_threads(serving) as serving.url:
        yield serving
