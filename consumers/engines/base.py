"""The contract of an engine: it holds one model, in a process of its own.

An engine knows nothing of logs, stores or jobs' fates. It gets bytes and parameters and gives
texts or files. It is the only place that decodes a picture in full.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

from common.events import CANCELED
from common.job import Parameter


class EngineInput(msgspec.Struct, frozen=True, kw_only=True):
    """One job as the engine sees it."""

    id: str  # to report progress and to ask for cancellation
    parameters: dict[str, Parameter] = {}
    inputs: dict[str, bytes] = {}  # name of the input ("image") -> the file's bytes


class EngineFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the engine made."""

    content: bytes
    content_type: str  # image/png, image/jpeg, image/webp, …


class EngineOutput(msgspec.Struct, frozen=True, kw_only=True, tag="output"):
    """What came of one input: a text, or files, or both."""

    text: str | None = None
    files: tuple[EngineFile, ...] = ()
    logs: str = ""


class EngineRefusal(msgspec.Struct, frozen=True, kw_only=True, tag="refusal"):
    """This one input is bad; its neighbours in the batch are not."""

    error: str  # a sentence that names the fix
    code: str = "bad_input"


class EngineStop(msgspec.Struct, frozen=True, kw_only=True, tag="stop"):
    """This input was not run to its end: it was canceled, or came too late to begin."""

    code: str = CANCELED


EngineResult = EngineOutput | EngineRefusal | EngineStop


class Run(ABC):
    """What an engine may ask and tell while it runs."""

    @abstractmethod
    def progress(self, id: str, fraction: float) -> None:
        """How far the job is, from 0 to 1."""

    @abstractmethod
    def canceled(self, id: str) -> bool:
        """Whether to stop working on the job. Ask between steps or tokens."""


class Engine(ABC):
    """Holds a model."""

    device: str = "cpu"  # where the model is: cpu, cuda:0, mps; known after `load`

    @abstractmethod
    def load(self) -> None:
        """Bring the model into memory. Raises ModelUnavailable with the fix in its message."""

    @abstractmethod
    def run(self, batch: Sequence[EngineInput], run: Run) -> list[EngineResult]:
        """One result for each input, in their order.

        Raises OutOfMemory when the device's memory did not hold the batch.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the model."""
