"""What a consumer and its engine process say to each other, over two pipes.

A frame is four bytes of length, big-endian, then a message in MessagePack.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from common.catalogue import ModelSpec
from consumers.engines.base import EngineInput, EngineResult

LENGTH_BYTES = 4


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """The first message to the engine process: which model, and where."""

    model: ModelSpec
    device: str
    dtype: str
    max_pixels: int


class RunBatch(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """Run these together."""

    batch: list[EngineInput]


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel"):
    """Stop working on this job if it is in the batch."""

    id: str


class Loaded(msgspec.Struct, frozen=True, kw_only=True, tag="loaded"):
    """The model is in memory."""

    device: str


class LoadFailed(msgspec.Struct, frozen=True, kw_only=True, tag="load_failed"):
    """The model cannot be loaded here; the process ends."""

    reason: str


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """How far a job is, from 0 to 1."""

    id: str
    fraction: float


class Results(msgspec.Struct, frozen=True, kw_only=True, tag="results"):
    """One result for each input of the batch, in its order."""

    results: list[EngineResult]


class Exhausted(msgspec.Struct, frozen=True, kw_only=True, tag="exhausted"):
    """The device's memory did not hold the batch."""

    reason: str


ToEngine = Load | RunBatch | Cancel
FromEngine = Loaded | LoadFailed | Progress | Results | Exhausted


def _encode_path(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value))


def _decode_path(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_path)
to_engine: msgspec.msgpack.Decoder[ToEngine] = msgspec.msgpack.Decoder(
    ToEngine, dec_hook=_decode_path
)
from_engine: msgspec.msgpack.Decoder[FromEngine] = msgspec.msgpack.Decoder(FromEngine)


def frame(message: ToEngine | FromEngine) -> bytes:
    """The message as it goes over the pipe."""
    body = _encoder.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body
