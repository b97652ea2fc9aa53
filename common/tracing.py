"""Traces: to which one a piece of work belongs, and spans of it where they are exported.

Here and everywhere a `traceparent` is a text as W3C Trace Context has it, and is valid. As such it
comes with requests and goes on in messages, the ledger and webhooks, exported or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Literal, Protocol

from structlog.contextvars import bind_contextvars

HEADER = "traceparent"
Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int]

_FORM = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})"
    r"-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_KNOWN_FLAGS = 0b11  # sampled, random

# Of the request that is being answered.
current: ContextVar[str | None] = ContextVar("traceparent", default=None)


def valid(text: str | None) -> str | None:
    """The traceparent in the version that we write; None for what is none, or for nothing."""
    found = _FORM.fullmatch(text) if text else None
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    return f"00-{found['trace']}-{found['span']}-{int(found['flags'], 16) & _KNOWN_FLAGS:02x}"


def of(headers: Mapping[str, str]) -> str | None:
    """The traceparent that a message carries."""
    return valid(headers.get(HEADER))


def headers(traceparent: str | None) -> dict[str, str]:
    """For a message or a request that goes on with the trace."""
    return {} if traceparent is None else {HEADER: traceparent}


def trace_id(traceparent: str) -> str:
    return traceparent[3:35]


def bind_to_logs(traceparent: str | None) -> None:
    """Let what this task logs from here on name the trace, if there is one."""
    if traceparent is not None:
        bind_contextvars(trace_id=trace_id(traceparent))


class Span:
    """A piece of work. This one is not exported: it only hands its parent's trace on."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent  # for what this work brings about

    def child(self, name: str) -> Span:
        return begin(name, self.traceparent)

    def rename(self, name: str) -> None:
        """Once it is known what the work is."""

    def tell(self, attributes: Attributes) -> None:
        """Add to what is known of it; nothing that a user wrote."""

    def end(self, error: str = "") -> None:
        """`error` is a word or two, none of the user's. A span that never ends is not exported."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end("" if kind is None else kind.__name__)


class Exporter(Protocol):
    """Makes spans that are sent somewhere."""

    def begin(
        self, name: str, parent: str | None, kind: Kind, attributes: Attributes | None
    ) -> Span: ...

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""


_exporter: Exporter | None = None


def begin(
    name: str,
    parent: str | None,
    *,
    kind: Kind = "internal",
    attributes: Attributes | None = None,
    root: bool = False,
) -> Span:
    """A span that has begun; without a parent only a `root` is exported."""
    if _exporter is None or (parent is None and not root):
        return Span(parent)
    return _exporter.begin(name, parent, kind, attributes)


@contextmanager
def exported(endpoint: str, service: str) -> Iterator[None]:
    """Meanwhile spans go to the OTLP receiver at `endpoint`, if there is one.

    Raises SettingsInvalid.
    """
    global _exporter
    if not endpoint:
        yield
        return
    from common.otlp import OtlpExporter  # whoever exports nothing does not load it

    _exporter = OtlpExporter(endpoint, service)
    try:
        yield
    finally:
        exporter, _exporter = _exporter, None
        exporter.close()
