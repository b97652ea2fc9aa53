"""A process's metrics over HTTP, for Prometheus. No key is asked for: they hold no secrets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    make_wsgi_app,
)
from prometheus_client.exposition import ThreadingWSGIServer

from common.errors import SettingsInvalid

_CLIENT_SECONDS = 10.0  # in which a client has to send, and to take

Page = Callable[[], bytes]  # JSON


def new_registry() -> CollectorRegistry:
    """With what every process tells of itself: CPU, memory, files, garbage."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


class _Handler(WSGIRequestHandler):
    timeout = _CLIENT_SECONDS

    def log_message(self, *_: object) -> None:
        """Scrapes are no news."""


class _SixServer(ThreadingWSGIServer):
    address_family = socket.AF_INET6


class Exposition:
    """Serves /metrics, and `pages` of JSON beside it, in a thread until it is closed."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        host: str,
        port: int,
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        """At `port`, or at a free one for 0. Raises SettingsInvalid where it cannot listen."""
        six = ":" in host
        try:
            self._server = make_server(
                host,
                port,
                _application(make_wsgi_app(registry), pages or {}),
                _SixServer if six else ThreadingWSGIServer,
                _Handler,
            )
        except (OSError, OverflowError) as error:
            raise SettingsInvalid(
                f"metrics cannot be served at {host}:{port}: {error}. Set DARKROOM_METRICS_HOST "
                "to an address of this machine, and the process's METRICS_PORT to a free port"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_port

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def exposed(
    registry: CollectorRegistry,
    *,
    host: str,
    port: int,
    pages: Mapping[str, Page] | None = None,
) -> Iterator[None]:
    """Serve while inside; nothing where the port is 0. Raises SettingsInvalid."""
    exposition = Exposition(registry, host=host, port=port, pages=pages) if port else None
    try:
        yield
    finally:
        if exposition is not None:
            exposition.close()


def _application(metrics: WSGIApplication, pages: Mapping[str, Page]) -> WSGIApplication:
    def application(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start)
        if path in pages and environ["REQUEST_METHOD"] == "GET":
            body = pages[path]()
            start("200 OK", [("Content-Type", "application/json")])
            return [body]
        start("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"GET {' or '.join(['/metrics', *pages])}\n".encode()]

    return application
