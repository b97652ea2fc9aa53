"""Gives back what it gets. It needs no model, so it shows what everything around one costs."""

from __future__ import annotations

import time

from common.catalogue import ModelSpec, Task
from common.parameters import EchoParameters, read_parameters
from consumers.engines.base import EngineInput, EngineOutput, Run
from consumers.engines.images import describe
from consumers.engines.one_by_one import Canceled, OneByOneEngine

_SLICE_SECONDS = 0.05  # how soon a delay notices that it was canceled
_PROGRESS_SECONDS = 0.25


class EchoEngine(OneByOneEngine):
    """Answers with the prompt; without one, with what the picture is ("640x480 JPEG")."""

    def __init__(self, model: ModelSpec, *, max_pixels: int) -> None:
        self._model, self._max_pixels = model, max_pixels

    def load(self) -> None:
        """There is nothing to load."""

    def run_one(self, item: EngineInput, run: Run) -> EngineOutput:
        wanted = read_parameters(self._model, Task.ECHO, EchoParameters, item.parameters)
        image = item.inputs.get("image")
        seen = describe(image, max_pixels=self._max_pixels) if image is not None else "echo"
        _work(wanted.delay, item.id, run)
        return EngineOutput(text=wanted.prompt or seen)

    def close(self) -> None:
        """There is nothing to let go of."""


def _work(seconds: float, id: str, run: Run) -> None:
    """Sleep in slices. Raises Canceled."""
    began = told = time.monotonic()
    while (now := time.monotonic()) - began < seconds:
        if run.canceled(id):
            raise Canceled
        if now - told >= _PROGRESS_SECONDS:
            run.progress(id, (now - began) / seconds)
            told = now
        time.sleep(min(_SLICE_SECONDS, began + seconds - now))
