"""The one middleware: every request gets an id and its trace, and is counted."""

from __future__ import annotations

import re
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from api.metrics import Metrics
from common import tracing

REQUEST_ID = "request_id"  # in the scope
_GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_MAKING = frozenset({"POST", "PUT"})  # a trace begins where a job may
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Observing:
    """Names the request, tells the name in `X-Request-Id`, and counts the reply.

    A trace that a `traceparent` tells of goes on here; one that makes no sense is none.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = scope[REQUEST_ID] = _request_id(scope)
        span = self._begin(scope, request_id)
        status = 500

        async def named_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                name = (b"x-request-id", request_id.encode())
                message["headers"] = [*message["headers"], name]
            await send(message)

        try:
            await self.app(scope, receive, named_send)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.answered(method, route, status, time.perf_counter() - began)
            span.rename(f"{method} {route}")
            known = {"http.request.method": method, "http.route": route}
            span.tell({**known, "http.response.status_code": status})
            span.end("" if status < 500 else str(status))

    def _begin(self, scope: Scope, request_id: str) -> tracing.Span:
        """What is logged meanwhile names the request; what is made meanwhile is in its trace."""
        span = tracing.begin(
            "request",
            _traceparent(scope),
            kind="server",
            attributes={"darkroom.request_id": request_id},
            root=scope["method"] in _MAKING,
        )
        tracing.current.set(span.traceparent)
        clear_contextvars()  # on a connection one request may come out of another
        bind_contextvars(request_id=request_id)
        tracing.bind_to_logs(span.traceparent)
        return span


def _traceparent(scope: Scope) -> str | None:
    """The client's own; of two there is no saying which is meant."""
    given = [value for name, value in scope["headers"] if name == b"traceparent"]
    return tracing.valid(given[0].decode("latin-1")) if len(given) == 1 else None


def _request_id(scope: Scope) -> str:
    """The client's own, if it can stand in a header and a log."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN.fullmatch(value):
            given: bytes = value
            return given.decode()
    return secrets.token_hex(8)
