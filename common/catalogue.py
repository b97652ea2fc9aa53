"""The catalogue: which models there are, read from model_names.txt.

One model a line, options after the name, `#` starts a comment:

    Salesforce/blip-image-captioning-base  revision=89b09ea1a789  min=1
    darkroom/shapes                        path=models/shapes/weights
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

from common.errors import CatalogueInvalid, UnknownModel
from common.topic import LONGEST_MODEL, slug


class Task(StrEnum):
    """What a model does, and so which engine holds it."""

    ECHO = "echo"
    IMAGE_TO_TEXT = "image_to_text"
    IMAGE_TO_IMAGE = "image_to_image"
    CUSTOM = "custom"


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model of the catalogue. All but the name are options of its line."""

    name: str
    task: Task | None = None  # None: the model is not here yet, its consumer will see
    path: Path | None = None  # a folder of weights or a .py of a CustomModel; absolute
    revision: str | None = None  # of the Hugging Face repository
    makes: str | None = None  # of a custom model: text or image
    min: int = 0  # consumers that the scaler keeps even when idle
    idle: float | None = None  # seconds without work before a consumer stops
    device: str | None = None  # cpu, cuda, cuda:1, mps
    dtype: str | None = None  # float32, bfloat16, float16
    prompt: str | None = None  # used where a request has none
    max_new_tokens: int | None = None
    steps: int | None = None
    strength: float | None = None
    guidance: float | None = None

    @property
    def version(self) -> str:
        """What a result names as the model's version."""
        return self.revision or "main"

    @property
    def makes_images(self) -> bool:
        return self.task is Task.IMAGE_TO_IMAGE or self.makes == "image"


class Catalogue:
    """The models, in the file's order."""

    def __init__(self, models: list[ModelSpec]) -> None:
        self._models = {model.name: model for model in models}

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._models.values())

    def __getitem__(self, name: str) -> ModelSpec:
        """Raises UnknownModel, which lists the known ones."""
        try:
            return self._models[name]
        except KeyError:
            raise UnknownModel(name, list(self._models)) from None


def read_catalogue(file: Path) -> Catalogue:
    """Raises CatalogueInvalid with file, line and reason."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueInvalid(str(file), 0, f"cannot be read: {error}") from error
    models: dict[str, ModelSpec] = {}
    for number, line in enumerate(lines, 1):
        try:
            model = _read_line(line, file.parent.resolve())
            if model and model.name in models:
                raise ValueError(f"{model.name} stands here twice: keep one of the lines")
        except (ValueError, msgspec.ValidationError) as error:
            raise CatalogueInvalid(str(file), number, str(error)) from error
        if model:
            models[model.name] = model
    return Catalogue(list(models.values()))


def _read_line(line: str, folder: Path) -> ModelSpec | None:
    words = shlex.split(line, comments=True)
    if not words:
        return None
    name, options = words[0], dict(_option(word) for word in words[1:])
    if len(slug(name)) > LONGEST_MODEL:
        raise ValueError(f"the name is too long: at most {LONGEST_MODEL} characters")
    model = msgspec.convert({"name": name, **options}, ModelSpec, strict=False, dec_hook=_decode)
    if model.path is not None:
        path = folder / model.path
        if not path.exists():
            raise ValueError(f"path={model.path}: there is no such file or folder under {folder}")
        model = msgspec.structs.replace(model, path=path.resolve())
    if model.makes not in (None, "text", "image"):
        raise ValueError(f"makes={model.makes}: say text or image")
    if model.task is Task.CUSTOM and (model.path is None or model.path.suffix != ".py"):
        raise ValueError("a custom model needs path=FILE.py, a class of CustomModel in it")
    if model.min < 0 or (model.idle is not None and model.idle < 0):
        raise ValueError("min= and idle= cannot be below zero")
    if model.task is None:
        model = msgspec.structs.replace(model, task=_task_of(model))
    return model


def _option(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not value or key == "name":
        raise ValueError(f"{word!r} is not an option: write KEY=VALUE, without blanks")
    return key, value


def _decode(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)


def _task_of(model: ModelSpec) -> Task | None:
    """From the model's own config, if it is on this machine."""
    folder = model.path or _snapshot(model)
    if folder is None:
        return None
    if (folder / "model_index.json").exists():
        return Task.IMAGE_TO_IMAGE
    config = folder / "config.json"
    if not config.exists():
        raise ValueError(f"{folder} has neither config.json nor model_index.json: give task=")
    kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    if not kind:
        raise ValueError(f"{config} does not say its model_type: give task=")
    return Task.IMAGE_TO_TEXT


def _snapshot(model: ModelSpec) -> Path | None:
    """The model's folder in the Hugging Face cache, None where it was not downloaded."""
    home = Path(os.path.expanduser(os.environ.get("HF_HOME", "~/.cache/huggingface")))
    repository = home / "hub" / ("models--" + model.name.replace("/", "--"))
    reference = repository / "refs" / (model.revision or "main")
    commit = reference.read_text().strip() if reference.exists() else model.revision
    folder = repository / "snapshots" / (commit or "none")
    return folder if folder.exists() else None
