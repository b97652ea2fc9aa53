"""How much time and memory one connection may take, whatever its client sends or does not read.

uvicorn ends a connection that idles between two requests, and no other.
"""

from __future__ import annotations

import asyncio
import resource
import secrets
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.problems import Problem, problem_response
from common.settings import Settings

MAX_HEAD_BYTES = 64 * 1024  # of a request's line and headers, and of what frames its body
LAST_REPLIES_SECONDS = 3  # for requests that are under way when the API stops
LINGER_SECONDS = 2.0  # after a refusal, so that what still arrives does not destroy it on its way
SLOWEST = 1024  # bytes a second, of a request's body and of a reply that the client is to take

_log = structlog.get_logger()


def http_server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """What serves the application, not running yet."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=partial(BoundedHttp, seconds=settings.request_seconds),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=LAST_REPLIES_SECONDS,
    )
    return uvicorn.Server(config)


def allow_connections() -> None:
    """As many as the system lets this process have: each is a file, and 1,024 are soon held."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's connection, with bounds.

    A request's head has `seconds` to arrive. In every `seconds` its body must bring SLOWEST bytes
    for each of them, and so must the client take of a reply that waits to be sent. Time in which
    the application itself does not read counts for nobody. Whoever is slower is disconnected, with
    a problem document where no reply has begun.
    """

    def __init__(self, *args: Any, seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._head_since: float | None = None  # by the loop's clock; None: none is awaited
        self._head_bytes = 0
        self._in_body = False
        self._progress = 0  # heads that ended, and bytes of bodies
        self._idle_bytes = 0  # received since there was progress
        self._progress_seen: int | None = None  # at the last look, if a body was arriving
        self._unsent_seen: int | None = None  # bytes at the last look, if none could be added
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_since = self.loop.time()
        self._timer = self.loop.call_later(self._seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        before = self._progress
        if self._head_since is None and not self._in_body:
            self._head_since = self.loop.time()
        super().data_received(data)
        self._idle_bytes = 0 if self._progress > before else self._idle_bytes + len(data)
        if max(self._idle_bytes, self._head_bytes) > MAX_HEAD_BYTES:
            self._refuse(
                Problem(
                    "head_too_large",
                    f"The request's line and headers have more than {MAX_HEAD_BYTES} bytes: send "
                    "what is long in the body.",
                )
            )

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem("invalid_http", f"{msg} Let a library of HTTP write it."))

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._progress += 1
        self._head_since, self._in_body = None, True
        if self._head_bytes <= MAX_HEAD_BYTES:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._progress += len(body)
        if self._head_bytes <= MAX_HEAD_BYTES:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        if self._head_bytes <= MAX_HEAD_BYTES:
            super().on_message_complete()

    def resume_writing(self) -> None:
        self._unsent_seen = None
        super().resume_writing()

    def _look(self) -> None:
        self._timer = self.loop.call_later(self._seconds, self._look)
        least = SLOWEST * self._seconds
        if self._too_slow_to_read(least):
            self.transport.abort()
        elif not self.transport.is_closing() and self._too_slow_to_send(least):
            self._refuse(
                Problem(
                    "request_too_slow",
                    f"The request did not arrive in time: its headers have {self._seconds:g} "
                    f"seconds, and its body needs at least {SLOWEST} bytes a second.",
                )
            )

    def _too_slow_to_send(self, least: float) -> bool:
        if self._head_since is not None:
            return self.loop.time() - self._head_since >= self._seconds
        held_up = self.flow.read_paused or self.cycle.waiting_for_100_continue
        seen, self._progress_seen = self._progress_seen, None
        if not self._in_body or held_up:
            return False
        self._progress_seen = self._progress
        return seen is not None and self._progress - seen < least

    def _too_slow_to_read(self, least: float) -> bool:
        """Only while nothing is added, so that less unsent means that some was taken."""
        seen, self._unsent_seen = self._unsent_seen, None
        unsent = self.transport.get_write_buffer_size()
        if unsent and (self.flow.write_paused or self.transport.is_closing()):
            self._unsent_seen = unsent
        return self._unsent_seen is not None and seen is not None and seen - unsent < least

    def _refuse(self, problem: Problem) -> None:
        """Answer, if no reply has begun, and end the connection.

        Closed at once while its client still sends, it would be reset, and the answer with it.
        """
        if self._refused:
            return
        self._refused = True
        _log.info("connection_ended", code=problem.code, client=self.client)
        cycle = self.cycle
        if cycle is not None:
            cycle.disconnected = True  # the application learns it as of a client that went
            cycle.message_event.set()
            if cycle.response_started and (self._in_body or not cycle.response_complete):
                self.transport.abort()
                return
        reply = problem_response(problem, request_id := secrets.token_hex(8))
        reply.headers["Connection"] = "close"
        reply.headers["X-Request-Id"] = request_id
        status = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n".encode()
        lines = b"".join(b"%b: %b\r\n" % line for line in reply.raw_headers)
        self.transport.write(status + lines + b"\r\n" + bytes(reply.body))
        self.transport.write_eof()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
