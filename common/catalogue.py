"""The catalogue: which models there are, read from model_names.txt.

One model a line, options after the name, `#` starts a comment:

    Salesforce/blip-image-captioning-base  revision=89b09ea1a789  min=1
    darkroom/shapes                        path=models/shapes/weights
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from common.errors import CatalogueInvalid, UnknownModel
from common.topic import LONGEST_MODEL, slug


class Task(StrEnum):
    """What a model does, and so which engine holds it."""

    ECHO = "echo"
    IMAGE_TO_TEXT = "image_to_text"
    IMAGE_TO_IMAGE = "image_to_image"
    CUSTOM = "custom"


MOST_NEW_TOKENS = 1024  # of a request, and so of a model's line
MOST_STEPS = 150
MOST_GUIDANCE = 50
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
DEVICE = r"^(auto|cpu|mps|cuda(:\d+)?)$"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
# What stands before a comment: a # inside a word or inside quotes begins none.
_CODE = re.compile(r"""(?:[^'"#]|'[^']*'|"[^"]*"|(?<=\S)#)*(?=#|$)""")


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model of the catalogue. All but the name are options of its line."""

    name: str
    task: Task | None = None  # None: the model is not here yet, its consumer will see
    path: Path | None = None  # a folder of weights or a .py of a CustomModel; absolute
    revision: str | None = None  # of the Hugging Face repository
    makes: Literal["text", "image"] | None = None  # of a custom model
    min: Annotated[int, Meta(ge=0)] = 0  # consumers that the scaler keeps even when idle
    max: Annotated[int, Meta(ge=1)] | None = None  # the most that it starts
    target: Annotated[float, Meta(ge=0.1, le=1e6)] | None = None  # seconds to drain what waits
    cooldown: Annotated[float, Meta(ge=0)] | None = None  # without work, before the last one stops
    hold_down: Annotated[float, Meta(ge=0)] | None = None  # fewer must have been enough for so long
    device: Annotated[str, Meta(pattern=DEVICE)] | None = None
    dtype: Dtype | None = None
    prompt: str | None = None  # used where a request has none
    max_new_tokens: Annotated[int, Meta(ge=1, le=MOST_NEW_TOKENS)] | None = None
    steps: Annotated[int, Meta(ge=1, le=MOST_STEPS)] | None = None
    strength: Annotated[float, Meta(ge=0, le=1)] | None = None
    guidance: Annotated[float, Meta(ge=0, le=MOST_GUIDANCE)] | None = None

    @property
    def version(self) -> str:
        """What a result names as the model's version."""
        return self.revision or "main"

    @property
    def result(self) -> str | None:
        """What it makes, text or image; None while its task is not known."""
        if self.task is None:
            return None
        return self.makes or ("image" if self.task is Task.IMAGE_TO_IMAGE else "text")

    @property
    def makes_images(self) -> bool:
        return self.result == "image"


_OPTIONS = ModelSpec.__struct_fields__[1:]


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
        lines = file.read_text(encoding="utf-8-sig").splitlines()
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
    code = _CODE.match(line)
    words = shlex.split(code[0] if code else line)
    if not words:
        return None
    if not _NAME.fullmatch(words[0]):
        raise ValueError(f"{words[0]!r} is not OWNER/NAME of letters, digits, . _ -")
    if len(slug(words[0])) > LONGEST_MODEL:
        raise ValueError(f"the name is too long: at most {LONGEST_MODEL} characters")
    given: dict[str, str] = {"name": words[0], **_options(words[1:])}
    if given.get("task", Task.ECHO) not in list(Task):
        raise ValueError(f"task={given['task']}: use one of {', '.join(Task)}")
    model = msgspec.convert(given, ModelSpec, strict=False, dec_hook=_decode)
    if model.path is not None:
        path = folder / model.path
        if not path.exists():
            raise ValueError(f"path={model.path}: there is no such file or folder under {folder}")
        model = msgspec.structs.replace(model, path=path.resolve())
    if model.task is None:
        model = msgspec.structs.replace(model, task=_task_of(model))
    is_class = model.path is not None and model.path.suffix == ".py"
    if (model.task is Task.CUSTOM) != is_class:
        raise ValueError("task=custom and path=FILE.py, a class of CustomModel in it, go together")
    if model.max is not None and model.min > model.max:
        raise ValueError(
            f"min={model.min} is more than max={model.max}: lower one or raise the other"
        )
    if model.makes and model.task is not Task.CUSTOM:
        raise ValueError("makes= is for custom models: the others' task says what they make")
    return model


def _options(words: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise ValueError(f"{word!r} is not an option: write KEY=VALUE, quoted if it has blanks")
        if key not in _OPTIONS:
            raise ValueError(f"there is no option {key}=: use {'= '.join(_OPTIONS)}=")
        if key in options:
            raise ValueError(f"{key}= stands here twice: keep one of them")
        options[key] = value
    return options


def _decode(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)


def _task_of(model: ModelSpec) -> Task | None:
    """From the model's own config, if it is on this machine. Raises ValueError."""
    if model.path is not None and model.path.suffix == ".py":
        return Task.CUSTOM
    folder = model.path or _snapshot(model)
    if folder is None:
        return None
    if (folder / "model_index.json").exists():
        return Task.IMAGE_TO_IMAGE
    config = folder / "config.json"
    if config.exists():
        return _task_in(config)
    if model.path is None:  # a download that was not finished
        return None
    raise ValueError(f"{folder} has neither config.json nor model_index.json: give task=")


def _task_in(config: Path) -> Task:
    try:
        content = msgspec.json.decode(config.read_bytes(), type=dict[str, object])
    except (OSError, msgspec.DecodeError) as error:
        raise ValueError(f"{config} cannot be read: {error}") from error
    if not content.get("model_type"):
        raise ValueError(f"{config} does not say its model_type: give task=")
    return Task.IMAGE_TO_TEXT


def _snapshot(model: ModelSpec) -> Path | None:
    """The model's folder in the Hugging Face cache, None where it was not downloaded."""
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE", f"{home}/hub")).expanduser()
    repository = hub / ("models--" + model.name.replace("/", "--"))
    reference = repository / "refs" / (model.revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else model.revision
    folder = repository / "snapshots" / (commit or "none")
    return folder if folder.exists() else None
