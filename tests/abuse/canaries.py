"""Secrets, everything that was said while they were in use, and where a secret stands in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2

from tests.in_threads import in_threads

Answer = Callable[[str], tuple[int, dict[str, str], bytes]]  # of a path: status, headers, body


@dataclass(frozen=True)
class Secret:
    """`shown`: a pattern of the places where it stands by design; "" means nowhere."""

    name: str
    value: str
    shown: str = ""


@dataclass
class Overheard:
    """What was said, each with where: "owner GET /v1/predictions 200"."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def hear(self, where: str, text: str) -> None:
        self.said.append((where, text))

    def ask(
        self, who: str, client: httpx2.Client, method: str, path: str, **sent: Any
    ) -> httpx2.Response:
        """The reply, which is written down with its headers; of a stream up to its end."""
        reply = client.request(method, path, **sent)
        heads = "\n".join(f"{name}: {value}" for name, value in reply.headers.items())
        shown = path.partition("?")[0]
        self.hear(f"{who} {method} {shown} {reply.status_code}", f"{heads}\n{reply.text}")
        return reply

    def leaks(self, secrets: list[Secret]) -> list[str]:
        """Each secret that stands where it should not, with what stands before it."""
        found = []
        for where, text in self.said:
            for secret in secrets:
                place = text.find(secret.value)
                if place >= 0 and not (secret.shown and re.fullmatch(secret.shown, where)):
                    before = text[max(0, place - 160) : place]
                    found.append(f"{secret.name} in {where}: ...{before}")
        return found

    def never_shown(self, secrets: list[Secret]) -> list[str]:
        """The secrets that stand nowhere, though they have a place where they should."""
        return [
            secret.name
            for secret in secrets
            if secret.shown
            and not any(
                re.fullmatch(secret.shown, where) and secret.value in text
                for where, text in self.said
            )
        ]


@dataclass
class Outside:
    """A server of the world: pictures, receivers and the hub. It remembers what it was sent."""

    url: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # line, headers, body

    def asked(self, path: str) -> bool:
        """Whether a request came for a path that begins so."""
        return any(line.split(" ")[1].startswith(path) for line, _, _ in self.requests)


@contextmanager
def outside(answer: Answer) -> Iterator[Outside]:
    """On a free port of 127.0.0.1, in threads of its own."""
    heard = Outside()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode("latin-1")
            heard.requests.append((self.requestline, str(self.headers), body))
            status, headers, content = answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_HEAD = answer

        def log_message(self, format: str, *arguments: object) -> None:
            """It is remembered already."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with in_threads(server) as heard.url:
        yield heard
