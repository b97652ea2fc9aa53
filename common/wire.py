"""How messages look on the log: JSON bodies, the schema's version in a header.

Golden files in tests/golden pin every message; a change that breaks one needs a new version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from common.errors import WireInvalid
from common.events import CancelJob, JobEvent, JobUpdate, WorkerHeartbeat
from common.job import JobSpec
from common.scaling import ScalingEvent, ScalingSettings

SCHEMA_VERSION = "1"
HEADERS: Mapping[str, str] = {"schema": SCHEMA_VERSION}

T = TypeVar("T")

_encoder = msgspec.json.Encoder()
_spec = msgspec.json.Decoder(JobSpec)
_event: msgspec.json.Decoder[JobEvent | ScalingEvent] = msgspec.json.Decoder(
    JobEvent | ScalingEvent
)
_update = msgspec.json.Decoder(JobUpdate)
_heartbeat = msgspec.json.Decoder(WorkerHeartbeat)
_control: msgspec.json.Decoder[CancelJob | ScalingSettings] = msgspec.json.Decoder(
    CancelJob | ScalingSettings
)


def encode(message: msgspec.Struct) -> bytes:
    """The body of `message`. Send it with HEADERS."""
    return _encoder.encode(message)


def decode_spec(body: bytes, headers: Mapping[str, str]) -> JobSpec:
    """The job asked for on a `jobs.…` topic. Raises WireInvalid."""
    return _decode(_spec, body, headers)


def decode_event(body: bytes, headers: Mapping[str, str]) -> JobEvent | ScalingEvent:
    """One message of the topic `events`. Raises WireInvalid."""
    return _decode(_event, body, headers)


def decode_update(body: bytes, headers: Mapping[str, str]) -> JobUpdate:
    """One message of the topic `updates`. Raises WireInvalid."""
    return _decode(_update, body, headers)


def decode_heartbeat(body: bytes, headers: Mapping[str, str]) -> WorkerHeartbeat:
    """One message of the topic `workers`. Raises WireInvalid."""
    return _decode(_heartbeat, body, headers)


def decode_control(body: bytes, headers: Mapping[str, str]) -> CancelJob | ScalingSettings:
    """One message of the topic `control`. Raises WireInvalid."""
    return _decode(_control, body, headers)


def _decode(decoder: msgspec.json.Decoder[T], body: bytes, headers: Mapping[str, str]) -> T:
    version = headers.get("schema")
    if version != SCHEMA_VERSION:
        raise WireInvalid(f"schema version {version!r}, and this process reads {SCHEMA_VERSION!r}")
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireInvalid(str(error)) from error
