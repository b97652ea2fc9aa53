"""The engines. Each is imported when it is opened: the parent process holds no torch, no Pillow."""

from __future__ import annotations

from common.catalogue import ModelSpec, Task
from consumers.engines.base import Engine


def open_engine(
    model: ModelSpec, *, device: str = "auto", dtype: str = "auto", max_pixels: int
) -> Engine:
    """The engine for the model's task; nothing is loaded yet.

    `device` and `dtype` are the settings; what the model's own line says goes before them.
    Pictures of more than `max_pixels` are refused.
    """
    device, dtype = model.device or device, model.dtype or dtype
    match model.task:
        case Task.ECHO:
            from consumers.engines.echo import EchoEngine

            return EchoEngine(model, max_pixels=max_pixels)
        case Task.CUSTOM:
            from consumers.engines.custom import CustomEngine

            return CustomEngine(model, max_pixels=max_pixels)
        case Task.IMAGE_TO_TEXT:
            from consumers.engines.image_to_text import ImageToTextEngine

            return ImageToTextEngine(model, device=device, dtype=dtype, max_pixels=max_pixels)
        case Task.IMAGE_TO_IMAGE:
            from consumers.engines.image_to_image import ImageToImageEngine

            return ImageToImageEngine(model, device=device, dtype=dtype, max_pixels=max_pixels)
        case None:
            from consumers.engines.undecided import UndecidedEngine

            return UndecidedEngine(model, device=device, dtype=dtype, max_pixels=max_pixels)
