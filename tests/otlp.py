"""A receiver of traces: OTLP over HTTP, with the protocol's own messages."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class Seen:
    """A span as it came."""

    service: str
    name: str
    trace: str
    id: str
    parent: str  # empty: none
    kind: str
    error: str
    attributes: dict[str, str]
    seconds: float


class OtlpReceiver:
    """A server on loopback, in threads of its own; a context manager."""

    def __init__(self) -> None:
        self._spans: list[Seen] = []
        self._lock = threading.Lock()
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                assert self.headers["content-type"] == "application/x-protobuf"
                take(self.rfile.read(int(self.headers["content-length"])))
                reply = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, format: str, *args: object) -> None:
                """`spans` has it all."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> OtlpReceiver:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def spans(self, trace: str | None = None) -> list[Seen]:
        """All, or those of one trace, in the order of their names."""
        with self._lock:
            found = [span for span in self._spans if trace in (None, span.trace)]
        return sorted(found, key=lambda span: (span.service, span.name))

    def _take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                with self._lock:
                    self._spans += [_seen(span, names["service.name"]) for span in scope.spans]


def _seen(span: trace_pb2.Span, service: str) -> Seen:
    return Seen(
        service=service,
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        error=span.status.message,
        attributes={
            each.key: each.value.string_value or str(each.value.int_value)
            for each in span.attributes
        },
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )
