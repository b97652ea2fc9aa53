"""A model that the catalogue could not look at: its files, once they are here, name its engine."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from common.catalogue import ModelSpec
from consumers.engines.base import Engine, EngineInput, EngineResult, Run
from consumers.engines.weights import folder_of, task_of


class UndecidedEngine(Engine):
    """Downloads, decides, and from then on hands everything to the engine it chose."""

    def __init__(self, model: ModelSpec, *, device: str, dtype: str, max_pixels: int) -> None:
        self._model, self._max_pixels = model, max_pixels
        self._wanted_device, self._dtype = device, dtype
        self._chosen: Engine | None = None

    def load(self) -> None:
        from consumers.engines import open_engine

        task = task_of(folder_of(self._model))
        chosen = open_engine(
            msgspec.structs.replace(self._model, task=task),
            device=self._wanted_device,
            dtype=self._dtype,
            max_pixels=self._max_pixels,
        )
        chosen.load()
        self._chosen, self.device = chosen, chosen.device

    def run(self, batch: Sequence[EngineInput], run: Run) -> list[EngineResult]:
        assert self._chosen is not None, "load comes first"
        return self._chosen.run(batch, run)

    def close(self) -> None:
        if self._chosen is not None:
            self._chosen.close()
