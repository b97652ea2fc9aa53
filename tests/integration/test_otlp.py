"""Spans on their way to a receiver that takes them, is away, or never answers."""

from __future__ import annotations

import logging
import socket
import threading
import time

import pytest

from common import tracing
from common.otlp import CLOSE_SECONDS
from tests.e2e.stack import eventually, free_port
from tests.otlp import OtlpReceiver

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SERVICE = "darkroom-test"


def test_a_span_goes_on_with_the_trace_that_it_was_given() -> None:
    with OtlpReceiver() as receiver:
        with tracing.exported(receiver.url, SERVICE):
            with tracing.begin(
                "work", f"00-{TRACE}-{SPAN}-01", kind="consumer", attributes={"darkroom.job": "j"}
            ) as span:
                span.child("part").end("a word")
                span.rename("real work")
                span.tell({"http.response.status_code": 500})
            told = span.traceparent
        part, work = receiver.spans()
    assert told == f"00-{TRACE}-{work.id}-01"
    assert (work.service, work.name, work.kind) == (SERVICE, "real work", "consumer")
    assert (work.trace, work.parent, work.error) == (TRACE, SPAN, "")
    assert work.attributes == {"darkroom.job": "j", "http.response.status_code": "500"}
    assert (part.trace, part.parent, part.error) == (TRACE, work.id, "a word")


def test_a_trace_that_its_caller_does_not_sample_is_passed_on_unexported() -> None:
    with OtlpReceiver() as receiver:
        with tracing.exported(receiver.url, SERVICE):
            span = tracing.begin("work", f"00-{TRACE}-{SPAN}-00")
            span.end()
        assert receiver.spans() == []
    assert span.traceparent is not None
    assert span.traceparent.startswith(f"00-{TRACE}-")
    assert span.traceparent.endswith("-00")


def test_only_a_root_begins_a_trace() -> None:
    with OtlpReceiver() as receiver:
        with tracing.exported(receiver.url, SERVICE):
            tracing.begin("work", None).end()
            tracing.begin("request", None, root=True).end()
        assert [(span.name, span.parent) for span in receiver.spans()] == [("request", "")]


def test_an_error_names_its_kind_and_none_of_its_text() -> None:
    with OtlpReceiver() as receiver:
        with (
            tracing.exported(receiver.url, SERVICE),
            pytest.raises(ValueError, match="a secret"),
            tracing.begin("work", None, root=True),
        ):
            raise ValueError("a secret")
        [span] = receiver.spans()
    assert span.error == "ValueError"


def begin_many() -> float:
    """Seconds that far more spans than the queue holds take."""
    began = time.monotonic()
    for _ in range(5000):
        tracing.begin("work", None, root=True).end()
    return time.monotonic() - began


def nobody_sends() -> bool:
    return not any("OtelBatch" in thread.name for thread in threading.enumerate())


def test_a_receiver_that_is_away_costs_little_and_is_complained_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        with tracing.exported(f"http://127.0.0.1:{free_port()}", SERVICE):
            began = time.monotonic()
            begin_many()
            left = time.monotonic()
        stopped = time.monotonic()
    assert left - began < 20  # not the receiver's time: the spans' own
    assert stopped - left < CLOSE_SECONDS + 2
    eventually(nobody_sends, 20)
    by_logger = [record.name for record in caplog.records]
    assert "opentelemetry.exporter.otlp.proto.http.trace_exporter" in by_logger
    assert len(by_logger) == len(set(by_logger))


def test_a_receiver_that_never_answers_holds_up_no_stop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with tracing.exported(f"http://127.0.0.1:{silent.getsockname()[1]}", SERVICE):
            begin_many()
            left = time.monotonic()
        assert time.monotonic() - left < CLOSE_SECONDS + 2
    eventually(nobody_sends, 20)
