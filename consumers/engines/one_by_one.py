"""What the engines share that take a batch's inputs one after the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from PIL.Image import Image

from common.errors import BadInput
from consumers.engines.base import (
    Engine,
    EngineInput,
    EngineOutput,
    EngineRefusal,
    EngineResult,
    EngineStop,
    Run,
)
from consumers.engines.images import decode


class Canceled(Exception):
    """Raised between steps or tokens when the job was canceled."""


class OneByOneEngine(Engine):
    """Runs each input alone, so that neither its neighbours nor their order change its result."""

    def run(self, batch: Sequence[EngineInput], run: Run) -> list[EngineResult]:
        return [self._result(item, run) for item in batch]

    def _result(self, item: EngineInput, run: Run) -> EngineResult:
        if run.canceled(item.id):
            return EngineStop()
        try:
            return self.run_one(item, run)
        except Canceled:
            return EngineStop()
        except BadInput as refused:
            return EngineRefusal(error=str(refused), code=refused.code)

    @abstractmethod
    def run_one(self, item: EngineInput, run: Run) -> EngineOutput:
        """Raises BadInput, OutOfMemory, and Canceled where `run` says so."""


def picture_of(item: EngineInput, max_pixels: int) -> Image:
    """The input image, decoded. Raises BadInput where it is missing or bad."""
    content = item.inputs.get("image")
    if content is None:
        raise BadInput("There is no input image: send one named image.", code="missing_image")
    return decode(content, max_pixels=max_pixels)
