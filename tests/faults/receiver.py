"""A webhook receiver that writes down all it gets before it answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
from standardwebhooks import Webhook, WebhookVerificationError


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as it came."""

    at: float  # seconds since the epoch
    id: str  # the header webhook-id
    event: str
    verified: bool  # by the stock library, with one of the receiver's secrets
    body: str
    traceparent: str = ""


def takes_it(_: Letter) -> int:
    """The answer of a receiver that has no trouble."""
    return 204


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever posts may die before it has read the answer: that is what is tested."""


class Receiver:
    """A server on loopback, in threads of its own; a context manager.

    `answer` gives the code of the reply; a letter that does not verify gets 400. `secrets` may be
    set later, but before the first letter is due.
    """

    def __init__(
        self,
        path: Path,
        secrets: Sequence[str] = (),
        *,
        answer: Callable[[Letter], int] = takes_it,
    ) -> None:
        self.path = path
        self.secrets = secrets
        self._answer = answer
        self._lock = threading.Lock()
        receive = self._receive

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(length)
                if len(body) < length:  # whoever posted died amid it: nothing was said yet
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(receive(headers, body))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """The file has it all."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Receiver:
        self.path.touch()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _receive(self, headers: dict[str, str], body: bytes) -> int:
        letter = Letter(
            at=time.time(),
            id=headers.get("webhook-id", ""),
            event=headers.get("darkroom-event", ""),
            verified=any(_verifies(secret, headers, body) for secret in self.secrets),
            body=body.decode("utf-8", "backslashreplace"),
            traceparent=headers.get("traceparent", ""),
        )
        with self._lock, self.path.open("ab") as file:
            file.write(msgspec.json.encode(letter) + b"\n")
        return self._answer(letter) if letter.verified else 400


def read_letters(path: Path) -> list[Letter]:
    """All that came, in its order."""
    return [msgspec.json.decode(line, type=Letter) for line in path.read_bytes().splitlines()]


def _verifies(secret: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True
