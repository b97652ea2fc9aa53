"""Pictures to text: captioners such as GIT and BLIP, and chat models that see."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from PIL.Image import Image

from common.catalogue import ModelSpec, Task
from common.parameters import ImageToTextParameters, read_parameters
from consumers.engines.base import EngineInput, EngineOutput, Run
from consumers.engines.devices import (
    choose_device,
    choose_dtype,
    fit_threads,
    free_memory,
    memory_watched,
    seed,
)
from consumers.engines.generation import Watch, check_template, prepare, printable, room, sampling
from consumers.engines.loading import load_explained, refuse_missing
from consumers.engines.one_by_one import Canceled, OneByOneEngine, picture_of
from consumers.engines.weights import folder_of

hf: Any = transformers  # most of it carries no types
_KIND = "an image-to-text model"


class ImageToTextEngine(OneByOneEngine):
    """Any model that transformers' AutoModelForImageTextToText loads.

    A model with a chat template is asked the prompt. Every other takes it as the beginning of
    its text. Neither repeats it in the result.
    """

    def __init__(self, model: ModelSpec, *, device: str, dtype: str, max_pixels: int) -> None:
        self._model, self._max_pixels = model, max_pixels
        self._wanted_device, self._wanted_dtype = device, dtype
        self._network: Any = None
        self._processor: Any = None

    def load(self) -> None:
        with load_explained(self._model, _KIND):
            read_parameters(self._model, Task.IMAGE_TO_TEXT, ImageToTextParameters, {})
            place = choose_device(self._wanted_device)
            folder = folder_of(self._model)
            hf.logging.set_verbosity_error()
            hf.logging.disable_progress_bar()
            closed = {"local_files_only": True, "trust_remote_code": False}
            self._processor = hf.AutoProcessor.from_pretrained(folder, **closed)
            check_template(self._processor)
            network, report = hf.AutoModelForImageTextToText.from_pretrained(
                folder,
                dtype=choose_dtype(self._wanted_dtype, place),
                use_safetensors=True,
                output_loading_info=True,
                **closed,
            )
            refuse_missing(self._model, report["missing_keys"])
            self._network = network.to(place).eval()
            fit_threads(network, place)
        self.device = str(place)

    def run_one(self, item: EngineInput, run: Run) -> EngineOutput:
        task = Task.IMAGE_TO_TEXT
        wanted = read_parameters(self._model, task, ImageToTextParameters, item.parameters)
        picture = picture_of(item, self._max_pixels)
        with memory_watched():
            return EngineOutput(text=self._write(picture, wanted, item.id, run))

    def close(self) -> None:
        self._network = self._processor = None
        free_memory(torch.device(self.device))

    def _write(self, picture: Image, wanted: ImageToTextParameters, id: str, run: Run) -> str:
        inputs = prepare(self._processor, self._network, picture, wanted.prompt)
        longest = min(wanted.max_new_tokens, room(self._network, inputs))
        watch = Watch(id, run, longest)
        seed(wanted.seed)
        with torch.inference_mode():
            tokens = self._network.generate(
                **inputs,
                **sampling(wanted),
                max_new_tokens=longest,
                stopping_criteria=hf.StoppingCriteriaList([watch]),
            )
        if watch.canceled:
            raise Canceled
        written = tokens[0, watch.start :]
        return printable(self._processor.decode(written, skip_special_tokens=True))
