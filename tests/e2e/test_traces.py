"""A trace from the request to the webhook, told to a receiver by every process on the way."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Json, Stack, embedded, eventually, free_port, on_servers
from tests.faults.receiver import Letter, Receiver, read_letters
from tests.otlp import OtlpReceiver, Seen

SPAN = "b7ad6b7169203331"
EXPORT = "DARKROOM_OTLP_ENDPOINT"


@pytest.fixture(scope="module")
def otlp() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module", params=["embedded", "servers"])
def stack(
    request: pytest.FixtureRequest, otlp: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack that exports, for all tests of the module that need no other."""
    folder = tmp_path_factory.mktemp("stack")
    settings = {EXPORT: otlp.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    if request.param == "embedded":
        running = embedded(folder, **settings)
    else:
        running = on_servers(folder, request.getfixturevalue("servers"), **settings)
    running.start()
    yield running
    running.stop()
    shutil.rmtree(folder / "data", ignore_errors=True)


@pytest.fixture
def open_stack(tmp_path: Path) -> Iterator[Callable[[str], Stack]]:
    """Starts an embedded stack that exports to this address, and stops it afterwards."""
    opened: list[Stack] = []

    def open_one(endpoint: str) -> Stack:
        opened.append(embedded(tmp_path, **{EXPORT: endpoint}))
        opened[-1].start()
        return opened[-1]

    yield open_one
    for stack in opened:
        if stack.processes:
            stack.stop()


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "letters") as receiver:
        yield receiver


@pytest.fixture
def trace() -> str:
    return secrets.token_hex(16)


def submit(stack: Stack, hook: Receiver, traceparent: str = "", delay: float = 0.0) -> Json:
    with stack.client() as client:
        secret = client.get("/v1/webhooks/default/secret").raise_for_status().json()["key"]
        hook.secrets = [secret]
        asked = {"prompt": "hi", "delay": delay}
        reply = client.post(
            "/v1/predictions",
            json={"model": "darkroom/echo", "input": asked, "webhook": hook.url},
            headers={"traceparent": traceparent} if traceparent else {},
        )
    assert reply.status_code == 202, reply.text
    job: Json = reply.json()
    return job


def letter_of(hook: Receiver, number: int = 1) -> Letter:
    """The one that comes as such, whenever that is."""

    def look() -> list[Letter] | None:
        letters = read_letters(hook.path)
        return letters if len(letters) >= number else None

    return eventually(look)[number - 1]


def whole(otlp: OtlpReceiver, trace: str) -> list[Seen]:
    """The spans of a trace once each process has told of the last that it did."""
    last = {"POST /v1/predictions", "append", "attempt", "store", "JobSucceeded", "webhook"}

    def look() -> list[Seen] | None:
        spans = otlp.spans(trace)
        told = {span.attributes.get("darkroom.event", span.name) for span in spans}
        told |= {span.name for span in spans}
        return spans if told >= last else None

    return eventually(look, 60)


def test_one_trace_goes_from_the_request_to_the_webhook(
    stack: Stack, otlp: OtlpReceiver, hook: Receiver, trace: str
) -> None:
    job = submit(stack, hook, f"00-{trace}-{SPAN}-01")
    letter = letter_of(hook)
    spans = whole(otlp, trace)
    by_id = {span.id: f"{span.service.removeprefix('darkroom-')} {span.name}" for span in spans}
    by_id[SPAN] = "caller"
    assert sorted((by_id[span.id], by_id[span.parent]) for span in spans) == [
        ("api POST /v1/predictions", "caller"),
        ("api append", "api POST /v1/predictions"),
        ("api commit", "api POST /v1/predictions"),
        ("consumer attempt", "api append"),
        ("consumer fetch", "consumer attempt"),
        ("consumer run", "consumer attempt"),
        ("consumer store", "consumer attempt"),
        ("notifier webhook", "api POST /v1/predictions"),
        ("recorder record", "consumer attempt"),
        ("recorder record", "consumer attempt"),
    ]
    kinds = {span.name: span.kind for span in spans}
    assert kinds["append"] == "producer"
    assert kinds["attempt"] == kinds["record"] == "consumer"
    assert (kinds["POST /v1/predictions"], kinds["webhook"]) == ("server", "client")
    [attempt] = [span for span in spans if span.name == "attempt"]
    assert attempt.attributes["darkroom.job"] == job["id"]
    assert attempt.attributes["darkroom.model"] == "darkroom/echo"
    events = {span.attributes["darkroom.event"] for span in spans if span.name == "record"}
    assert events == {"JobStarted", "JobSucceeded"}
    assert {span.error for span in spans} == {""}
    # What the webhook's receiver would go on with
    [webhook] = [span for span in spans if span.name == "webhook"]
    assert letter.verified
    assert letter.traceparent == f"00-{trace}-{webhook.id}-01"


def test_without_a_header_a_trace_begins_with_the_job_and_not_with_looking_at_it(
    stack: Stack, otlp: OtlpReceiver, hook: Receiver
) -> None:
    before = {span.trace for span in otlp.spans()}
    stack.ended(submit(stack, hook, "no traceparent at all")["id"])
    trace = letter_of(hook).traceparent[3:35]
    [root] = [span for span in whole(otlp, trace) if not span.parent]
    assert root.name == "POST /v1/predictions"
    assert {span.trace for span in otlp.spans()} - before == {trace}  # though it was asked for


def test_an_attempt_after_a_crash_is_in_the_same_trace(
    stack: Stack, otlp: OtlpReceiver, hook: Receiver, trace: str
) -> None:
    job = submit(stack, hook, f"00-{trace}-{SPAN}-01", delay=5)
    eventually(lambda: stack.job(job["id"])["status"] == "processing")
    [engine] = stack.engines()
    engine.kill()
    assert stack.ended(job["id"])["attempt"] == 2
    spans = whole(otlp, trace)
    attempts = [span for span in spans if span.name == "attempt"]
    assert sorted(span.error for span in attempts) == ["", "released"]
    assert len({span.parent for span in attempts}) == 1
    runs = {span.parent: span.error for span in spans if span.name == "run"}
    assert {runs[span.id] for span in attempts} == {"", "EngineCrashed"}
    logged = [line for line in stack.output.read_text().splitlines() if "run_failed" in line]
    assert [json.loads(line)["trace_id"] for line in logged if job["id"] in line] == [trace]


def test_what_its_caller_does_not_sample_is_not_exported_and_its_trace_goes_on(
    stack: Stack, otlp: OtlpReceiver, hook: Receiver, trace: str
) -> None:
    submit(stack, hook, f"00-{trace}-{SPAN}-00")
    given = letter_of(hook).traceparent
    assert (given[:35], given[-3:]) == (f"00-{trace}", "-00")
    later = secrets.token_hex(16)
    submit(stack, hook, f"00-{later}-{SPAN}-01")
    assert whole(otlp, later)  # and with it all that was before it
    assert otlp.spans(trace) == []


def test_without_export_the_webhook_still_names_the_trace(
    open_stack: Callable[[str], Stack], hook: Receiver, trace: str
) -> None:
    stack = open_stack("")
    given = f"00-{trace}-{SPAN}-01"
    submit(stack, hook, given)
    assert letter_of(hook).traceparent == given
    submit(stack, hook)
    assert letter_of(hook, 2).traceparent == ""


@pytest.mark.parametrize("silent", [False, True])
def test_a_receiver_that_takes_nothing_slows_nothing_and_holds_up_no_stop(
    open_stack: Callable[[str], Stack], hook: Receiver, trace: str, silent: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1] if silent else free_port()
        stack = open_stack(f"http://127.0.0.1:{port}")
        submit(stack, hook, f"00-{trace}-{SPAN}-01")
        assert letter_of(hook).traceparent.startswith(f"00-{trace}-")
        asked = {"model": "darkroom/echo", "input": {"prompt": "again"}}
        with stack.client() as client:
            for _ in range(20):
                headers = {"Prefer": "wait=60"}
                reply = client.post("/v1/predictions", json=asked, headers=headers)
                assert reply.status_code == 201
        began = time.monotonic()
        stack.stop()
        assert time.monotonic() - began < 30
    assert stack.output.read_text().count("exporting spans batch") <= 4  # one of each process
