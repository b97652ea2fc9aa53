"""The golden files are what other versions of Darkroom have on their logs.

One that no longer matches means that messages in flight cannot be read after an upgrade: give the
wire a new schema version instead of changing the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from common.errors import WireInvalid
from common.events import (
    CancelJob,
    JobCanceled,
    JobEvent,
    JobFailed,
    JobProgress,
    JobReleased,
    JobStarted,
    JobSucceeded,
    JobUpdate,
    WorkerHeartbeat,
    WorkerState,
)
from common.job import JobSpec, JobState, Output, OutputFile, Priority
from common.scaling import (
    ModelScaling,
    ScalerStarted,
    ScalingDecided,
    ScalingEvent,
    ScalingMode,
    ScalingSettings,
)
from common.wire import (
    HEADERS,
    decode_control,
    decode_event,
    decode_heartbeat,
    decode_spec,
    decode_update,
    encode,
)

Decode = Callable[[bytes, Mapping[str, str]], msgspec.Struct]

GOLDEN = Path(__file__).parents[2] / "golden"
JOB, TOKEN, AT = "0190a3c4-0000-7000-8000-000000000001", "5f2b", 1793000000.25
PNG = OutputFile(key=f"outputs/{JOB}/{TOKEN}/0.png", content_type="image/png", size=1234)

MESSAGES: dict[str, tuple[msgspec.Struct, Decode]] = {
    "job_spec": (
        JobSpec(
            model="o/m",
            priority=Priority.HIGH,
            parameters={"prompt": "plus grand, s'il vous plaît", "steps": 4, "strength": 0.5},
            inputs={"image": "inputs/local/2026-11-21/ab12"},
            start_by=1793000060.5,
        ),
        decode_spec,
    ),
    "job_spec_bare": (JobSpec(model="o/m"), decode_spec),
    "job_started": (JobStarted(job=JOB, token=TOKEN, at=AT, worker="w1"), decode_event),
    "job_released": (JobReleased(job=JOB, token=TOKEN, at=AT, reason="shutdown"), decode_event),
    "job_progress": (JobProgress(job=JOB, token=TOKEN, at=AT, fraction=0.5), decode_event),
    "job_succeeded_with_text": (
        JobSucceeded(
            job=JOB, token=TOKEN, at=AT, output=Output(text="a red circle ✓"), predict_time=0.125
        ),
        decode_event,
    ),
    "job_succeeded_with_files": (
        JobSucceeded(
            job=JOB, token=TOKEN, at=AT, output=Output(files=(PNG,)), predict_time=2.0, logs="ok\n"
        ),
        decode_event,
    ),
    "job_failed": (
        JobFailed(job=JOB, token=TOKEN, at=AT, code="bad_input", error="Not an image.", logs=""),
        decode_event,
    ),
    "job_canceled": (JobCanceled(job=JOB, token=TOKEN, at=AT), decode_event),
    "scaler_started": (ScalerStarted(scaler="s1", at=AT), decode_event),
    "scaling_decided": (
        ScalingDecided(
            id="7b5f",
            scaler="s1",
            model="o/m",
            at=AT,
            before=0,
            after=2,
            reason="12 jobs to do",
            applied=True,
            alert="breaker",
        ),
        decode_event,
    ),
    "scaling_settings": (
        ScalingSettings(
            revision=7,
            mode=ScalingMode.DRY_RUN,
            models={"o/m": ModelScaling(paused=True, min=1, max=3, target=10.5, cooldown=60.0)},
        ),
        decode_control,
    ),
    "job_update": (
        JobUpdate(
            job=JOB,
            owner="local",
            state=JobState.PROCESSING,
            sequence=3,
            model="o/m",
            at=AT,
            started_at=AT,
            progress=0.5,
        ),
        decode_update,
    ),
    "worker_heartbeat": (
        WorkerHeartbeat(
            worker="w1",
            model="o/m",
            state=WorkerState.FAILED,
            at=AT,
            host="box",
            pid=4711,
            reason="no weights",
            device="cuda:0",
            running=(JOB,),
            metrics_port=8001,
            jobs=12,
            busy=30.5,
            moved_at=1793000000.0,
            memory=1_500_000_000,
        ),
        decode_heartbeat,
    ),
    "cancel_job": (CancelJob(job=JOB, at=AT), decode_control),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_written_as_its_golden_file_says(name: str) -> None:
    message, _ = MESSAGES[name]

    written = msgspec.json.format(encode(message), indent=2) + b"\n"

    assert written.decode() == (GOLDEN / f"{name}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_read_from_its_golden_file(name: str) -> None:
    message, decode = MESSAGES[name]

    assert decode((GOLDEN / f"{name}.json").read_bytes(), HEADERS) == message


def test_an_update_of_before_it_told_more_is_read() -> None:
    bare = {"type": "update", "job": JOB, "owner": "local", "state": "failed", "sequence": 3}

    assert decode_update(msgspec.json.encode(bare), HEADERS) == JobUpdate(
        job=JOB, owner="local", state=JobState.FAILED, sequence=3
    )


def test_every_golden_file_is_a_message_and_every_event_has_one() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(MESSAGES)
    events = {*get_args(JobEvent), *get_args(ScalingEvent)}
    assert events <= {type(message) for message, _ in MESSAGES.values()}


@pytest.mark.parametrize("headers", [{}, {"schema": "2"}, {"schema": ""}])
def test_another_schema_version_is_not_read(headers: dict[str, str]) -> None:
    with pytest.raises(WireInvalid, match="this process reads '1'"):
        decode_spec(encode(JobSpec(model="o/m")), headers)


@pytest.mark.parametrize(
    ("decode", "body"),
    [
        (decode_spec, b""),
        (decode_spec, b"\xff\xfe"),
        (decode_spec, b'{"model": "o/m", "new": ' + b"[" * 9000 + b"]" * 9000 + b"}"),
        (decode_spec, b'{"model": "\xff"}'),
        (decode_spec, b"[]"),
        (decode_spec, b'{"priority": "high"}'),
        (decode_spec, b'{"model": "o/m", "priority": "urgent"}'),
        (decode_spec, b'{"model": "o/m", "parameters": {"deep": {"er": 1}}}'),
        (decode_event, b'{"type": "danced", "job": "j", "token": "t", "at": 1}'),
        (decode_event, b'{"type": "started", "job": "j", "token": "t", "at": 1}'),
        (decode_control, b'{"type": "update", "job": "j", "at": 1}'),
        (decode_heartbeat, b"null"),
        (decode_update, b'{"type": "update", "job": 1}'),
    ],
)
def test_what_is_no_message_of_its_topic_is_not_read(decode: Decode, body: bytes) -> None:
    with pytest.raises(WireInvalid):
        decode(body, HEADERS)


def test_an_event_may_gain_a_field_without_a_new_version() -> None:
    body = b'{"type": "canceled", "job": "j", "token": "t", "at": 1, "later": true}'

    assert decode_event(body, HEADERS) == JobCanceled(job="j", token="t", at=1)


def test_a_job_of_a_newer_writer_is_read_without_what_is_new() -> None:
    spec = decode_spec(b'{"model": "o/m", "colour": "red"}', HEADERS)
    assert spec == JobSpec(model="o/m")
