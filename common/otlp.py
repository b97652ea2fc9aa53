"""Spans over OTLP/HTTP. This alone knows OpenTelemetry, which is an extra.

The SDK reads the rest of its settings from OTEL_… variables, as everywhere: the receiver's headers,
what is sampled, the queue's size. Its queue is bounded, and sending has a thread of its own.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

from common.errors import SettingsInvalid
from common.tracing import Attributes, Kind, Span, trace_id

try:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
except ModuleNotFoundError as error:
    raise SettingsInvalid(
        "DARKROOM_OTLP_ENDPOINT is set, and the packages that export traces are not installed: "
        "run pip install 'darkroom[traces]', or leave the setting empty"
    ) from error

CLOSE_SECONDS = 3.0  # for what is left when the process stops
COMPLAIN_SECONDS = 300.0  # between two records of a receiver's trouble
# Who complains of it.
_LOGGERS = (OTLPSpanExporter.__module__, "opentelemetry.sdk._shared_internal")


class OtlpExporter:
    """Makes spans, and sends them to a receiver; what it does not take is dropped."""

    def __init__(self, endpoint: str, service: str) -> None:
        """`endpoint` is the receiver's base URL: the path /v1/traces is added."""
        instance = f"{socket.gethostname()}-{os.getpid()}"
        resource = Resource.create({"service.name": service, "service.instance.id": instance})
        # Its own way to stop waits for as long as it takes.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._sending: SpanExporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(self._sending))
        self._tracer = self._provider.get_tracer("darkroom")
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_Seldom())

    def begin(
        self, name: str, parent: str | None, kind: Kind, attributes: Attributes | None
    ) -> Span:
        span = self._tracer.start_span(
            name,
            trace.set_span_in_context(trace.NonRecordingSpan(_context_of(parent))),
            kind=trace.SpanKind[kind.upper()],
            attributes=attributes,
        )
        return _OtlpSpan(span)

    def close(self) -> None:
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        if closing.is_alive():
            self._sending.shutdown()  # no further tries


class _OtlpSpan(Span):
    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        super().__init__(_traceparent_of(span.get_span_context()))
        self._span = span

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def tell(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def end(self, error: str = "") -> None:
        if error:
            self._span.set_status(trace.StatusCode.ERROR, error)
        self._span.end()


class _Seldom(logging.Filter):
    """Lets a record pass if none did for a while."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + COMPLAIN_SECONDS
        return True


def _context_of(traceparent: str | None) -> trace.SpanContext:
    if traceparent is None:
        return trace.INVALID_SPAN_CONTEXT
    return trace.SpanContext(
        int(trace_id(traceparent), 16),
        int(traceparent[36:52], 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(int(traceparent[53:], 16)),
    )


def _traceparent_of(context: trace.SpanContext) -> str | None:
    if not context.is_valid:  # OTEL_SDK_DISABLED
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
