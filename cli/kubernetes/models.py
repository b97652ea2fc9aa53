"""The catalogue as pods read it: paths as in the image, and what was found out here written out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import msgspec

from common.catalogue import ModelSpec
from common.errors import SettingsInvalid
from common.settings import PROJECT, Settings


def catalogue_text(models: Iterable[ModelSpec], *, project: str) -> str:
    """A model_names.txt for images that hold Darkroom at `project`. Raises SettingsInvalid."""
    return "".join(f"{_line(model, project)}\n" for model in models)


def device_of(model: ModelSpec, settings: Settings) -> str:
    """cpu, cuda or auto. A pod sees the GPUs that it was given as the first ones."""
    device = model.device or settings.device
    if device == "mps":
        raise SettingsInvalid(
            f"device=mps of {model.name}: no container has Apple's GPU; use cuda or cpu"
        )
    return device.partition(":")[0]


def _line(model: ModelSpec, project: str) -> str:
    plain = msgspec.structs.asdict(ModelSpec(name=model.name))
    given = msgspec.structs.asdict(model)
    options = {name: value for name, value in given.items() if value != plain[name]}
    if model.path is not None:
        options["path"] = _in_image(model.name, model.path, project)
    if model.device is not None:
        options["device"] = model.device.partition(":")[0]
    return " ".join(
        [model.name, *(shlex.quote(f"{key}={value}") for key, value in options.items())]
    )


def _in_image(name: str, path: Path, project: str) -> PurePosixPath:
    if not path.is_relative_to(PROJECT):
        raise SettingsInvalid(
            f"path={path} of {name}: the image holds what is under {PROJECT}; put it there before "
            "the image is built, or name a model of the hub"
        )
    return PurePosixPath(project) / path.relative_to(PROJECT)
