"""Pictures to pictures: diffusion models that start from an image."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import diffusers
import torch
from PIL import Image

from common.catalogue import ModelSpec, Task
from common.errors import BadInput, ModelUnavailable
from common.parameters import ImageToImageParameters, read_parameters
from consumers.engines.base import EngineInput, EngineOutput, Run
from consumers.engines.devices import (
    choose_device,
    choose_dtype,
    fit_threads,
    free_memory,
    memory_watched,
)
from consumers.engines.images import encode
from consumers.engines.loading import load_explained
from consumers.engines.one_by_one import Canceled, OneByOneEngine, picture_of
from consumers.engines.weights import folder_of, stored_numbers

LARGEST_SIDE = 1024  # px; larger pictures are worked on in this size, for memory's sake
SMALLEST_SIDE = 64  # px; below it the deepest layers have nothing to look at
df: Any = diffusers  # most of it carries no types
_KIND = "an image-to-image model"
_MAY_LACK = {  # parameters that not every pipeline has -> their names there
    "negative_prompt": "negative_prompt",
    "strength": "strength",
    "guidance": "guidance_scale",
}


class ImageToImageEngine(OneByOneEngine):
    """Any pipeline that diffusers' AutoPipelineForImage2Image knows.

    The result has the input's size. Inside, sides are rounded to what the model's latents allow
    and bounded by LARGEST_SIDE.
    """

    def __init__(self, model: ModelSpec, *, device: str, dtype: str, max_pixels: int) -> None:
        self._model, self._max_pixels = model, max_pixels
        self._wanted_device, self._wanted_dtype = device, dtype
        self._pipeline: Any = None
        self._takes: frozenset[str] = frozenset()  # the names of the pipeline's arguments

    def load(self) -> None:
        with load_explained(self._model, _KIND):
            read_parameters(self._model, Task.IMAGE_TO_IMAGE, ImageToImageParameters, {})
            place = choose_device(self._wanted_device)
            folder = folder_of(self._model)
            df.utils.logging.set_verbosity_error()
            df.utils.logging.disable_progress_bar()
            pipeline = df.AutoPipelineForImage2Image.from_pretrained(
                folder,
                dtype=choose_dtype(self._wanted_dtype, place),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
            )
            parts = {n: p for n, p in pipeline.components.items() if isinstance(p, torch.nn.Module)}
            for name, part in parts.items():
                _check_whole(part, folder / name)
            fit_threads(torch.nn.ModuleDict(parts), place)
            pipeline.set_progress_bar_config(disable=True)
            self._pipeline = pipeline.to(place)
            self._takes = frozenset(inspect.signature(pipeline.__call__).parameters)
        self.device = str(place)

    def run_one(self, item: EngineInput, run: Run) -> EngineOutput:
        task = Task.IMAGE_TO_IMAGE
        wanted = read_parameters(self._model, task, ImageToImageParameters, item.parameters)
        self._check(wanted, item)
        picture = picture_of(item, self._max_pixels)
        with memory_watched():
            made = self._paint(picture, wanted, item.id, run)
        return EngineOutput(files=(encode(made, wanted.output_format),))

    def close(self) -> None:
        self._pipeline = None
        free_memory(torch.device(self.device))

    def _check(self, wanted: ImageToImageParameters, item: EngineInput) -> None:
        for name, argument in _MAY_LACK.items():
            if argument not in self._takes and item.parameters.get(name):
                raise _refusal(f"{self._model.name} has no {name}: leave it out.")
        if self._steps(wanted) < 1:
            raise _refusal(
                f"steps={wanted.steps} x strength={wanted.strength} leaves no step to run: "
                "raise one of them until their product is at least 1."
            )

    def _steps(self, wanted: ImageToImageParameters) -> int:
        """How many steps are run: img2img starts where `strength` puts it in the schedule."""
        if "strength" not in self._takes:
            return wanted.steps
        return min(int(wanted.steps * wanted.strength), wanted.steps)

    def _paint(
        self, picture: Image.Image, wanted: ImageToImageParameters, id: str, run: Run
    ) -> Image.Image:
        size = _inner_size(picture.size, 2 * getattr(self._pipeline, "vae_scale_factor", 8))
        steps = self._steps(wanted)

        def after_step(_: Any, step: int, _time: Any, state: dict[str, Any]) -> dict[str, Any]:
            if run.canceled(id):
                raise Canceled
            run.progress(id, min(1.0, (step + 1) / steps))
            return state

        arguments = {
            "prompt": wanted.prompt,
            "negative_prompt": wanted.negative_prompt or None,
            "image": picture.resize(size, Image.Resampling.LANCZOS),
            "width": size[0],
            "height": size[1],
            "strength": wanted.strength,
            "num_inference_steps": wanted.steps,
            "guidance_scale": wanted.guidance,
            "generator": _generator(wanted.seed),
            "callback_on_step_end": after_step,
        }
        made = self._pipeline(**{k: v for k, v in arguments.items() if k in self._takes})
        if any(getattr(made, "nsfw_content_detected", None) or ()):
            raise BadInput(
                "The model's own safety checker held the result back: change the prompt, the "
                "seed or the picture.",
                code="result_withheld",
            )
        result: Image.Image = made.images[0]
        return result.resize(picture.size, Image.Resampling.LANCZOS)


def _check_whole(part: torch.nn.Module, folder: Path) -> None:
    """Raises ModelUnavailable where weights are missing: the library filled them with noise."""
    lacking = sum(weights.numel() for weights in part.parameters()) - stored_numbers(folder)
    if lacking > 0:
        raise ModelUnavailable(
            f"The weights in {folder} lack {lacking} numbers that its config.json asks for: "
            "choose another revision=, or download the model again."
        )


def _inner_size(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """The size nearest to `size` that the model can work in."""
    scale = min(1.0, LARGEST_SIDE / max(size))
    width, height = (max(SMALLEST_SIDE, multiple * round(side * scale / multiple)) for side in size)
    return width, height


def _generator(seed: int | None) -> torch.Generator:
    """On the CPU, so that a seed means the same on every device."""
    generator = torch.Generator("cpu")
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def _refusal(message: str) -> BadInput:
    return BadInput(message, code="invalid_parameter")
