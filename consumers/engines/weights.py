"""Finds a model's files: its own folder, the Hugging Face cache, or the hub.

Safetensors only: other weights, and code, are not even downloaded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
from huggingface_hub import constants, errors
from safetensors import SafetensorError, safe_open

from common.catalogue import ModelSpec, Task
from common.errors import ModelUnavailable

_HUB_SECONDS = 5  # an answer that takes longer counts as none
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_NOT = ["*consolidated*", "*.fp16*", "*.bf16*", "*non_ema*"]  # the same weights once more


def task_of(folder: Path) -> Task:
    """What the model in this folder does."""
    if (folder / "model_index.json").exists():
        return Task.IMAGE_TO_IMAGE
    return Task.IMAGE_TO_TEXT


def folder_of(model: ModelSpec) -> Path:
    """The folder that holds the whole model; downloaded now, if it is not on this machine yet.

    Raises ModelUnavailable, within seconds where there is no network.
    """
    constants.HF_HUB_DISABLE_TELEMETRY = True
    folder = folder_here(model)
    if folder is None:
        folder = _download(model)
        _check_complete(folder)
    return folder


def folder_here(model: ModelSpec) -> Path | None:
    """The folder that holds the whole model; None while it is to be downloaded.

    Raises ModelUnavailable for a folder of its own that lacks something.
    """
    if model.path is not None:
        _check_complete(model.path)
        return model.path
    return _cached(model)


def broken_weights(folder: Path) -> str | None:
    """Which of the model's weights is cut short or no safetensors at all, and why."""
    for file in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(file, framework="numpy") as weights:
                weights.keys()
        except (SafetensorError, OSError) as error:
            return f"{file}: {error}"
    return None


def stored_numbers(part: Path) -> int:
    """How many numbers the weights in this folder hold, all its safetensors together."""
    total = 0
    for file in part.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            names = weights.keys()
            total += sum(math.prod(weights.get_slice(name).get_shape()) for name in names)
    return total


def _cached(model: ModelSpec) -> Path | None:
    """What was downloaded before, None where some of it is missing."""
    for name in ("model_index.json", "config.json"):
        found = huggingface_hub.try_to_load_from_cache(model.name, name, revision=model.revision)
        if isinstance(found, str):
            try:
                _check_complete(Path(found).parent)
            except ModelUnavailable:
                return None
            return Path(found).parent
    return None


def _download(model: ModelSpec) -> Path:
    with _hub_explained(model):
        about = huggingface_hub.HfApi().model_info(
            model.name, revision=model.revision, timeout=_HUB_SECONDS
        )
        names = [file.rfilename for file in about.siblings or []]
        if not any(name.endswith(".safetensors") for name in names):
            raise ModelUnavailable(
                f"{model.name} has no weights in safetensors on the hub, and other formats can "
                "carry code: choose another revision= or another model."
            )
        allowed, ignored = _FILES, [*_NOT, "*/*"]
        if "model_index.json" in names:
            index = huggingface_hub.hf_hub_download(
                model.name, "model_index.json", revision=model.revision, etag_timeout=_HUB_SECONDS
            )
            parts = _parts(Path(index))
            allowed = ["model_index.json", *(f"{part}/{file}" for part in parts for file in _FILES)]
            ignored = _NOT
        return Path(
            huggingface_hub.snapshot_download(
                model.name,
                revision=model.revision,
                etag_timeout=_HUB_SECONDS,
                allow_patterns=allowed,
                ignore_patterns=ignored,
            )
        )


@contextmanager
def _hub_explained(model: ModelSpec) -> Iterator[None]:
    try:
        yield
    except errors.GatedRepoError as error:
        fix = "is gated: accept its licence on the hub and set HF_TOKEN"
        raise ModelUnavailable(f"{model.name} {fix}.") from error
    except errors.RevisionNotFoundError as error:
        fix = f"has no revision {model.revision} on the hub: correct revision="
        raise ModelUnavailable(f"{model.name} {fix}.") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        fix = "is not on the hub: correct its name, give path=, or set HF_TOKEN if it is private"
        raise ModelUnavailable(f"{model.name} {fix}.") from error
    except (OSError, httpx2.HTTPError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelUnavailable(
            f"{model.name} is not on this machine and cannot be downloaded ({reason}): "
            "connect it to the hub, or give path= a folder with the model."
        ) from error


def _check_complete(folder: Path) -> None:
    """Raises ModelUnavailable where a part of the model, or its weights, are missing."""
    index = folder / "model_index.json"
    if not index.exists() and not (folder / "config.json").exists():
        raise ModelUnavailable(
            f"{folder} holds no model (neither config.json nor model_index.json): correct path=."
        )
    for part in [folder / name for name in _parts(index)] if index.exists() else [folder]:
        _check_part(part)


def _check_part(part: Path) -> None:
    if not part.is_dir():
        raise ModelUnavailable(f"{part} is missing: download the model again.")
    if not (part / "config.json").exists():
        return  # a tokenizer or a scheduler: its config has another name, and it has no weights
    if not any(part.glob("*.safetensors")):
        raise ModelUnavailable(
            f"{part} has no weights in safetensors, and other formats can carry code: choose "
            "another revision=, or convert the model with save_pretrained."
        )
    if kernel := _foreign_kernel(_read(part / "config.json")):
        raise ModelUnavailable(
            f"{part} needs code from its own repository ({kernel}), which is never run: choose a "
            "model that transformers or diffusers know themselves."
        )
    for index in part.glob("*.safetensors.index.json"):
        shards = set(_read(index)["weight_map"].values())
        if strange := sorted(shard for shard in shards if not _is_shard(shard)):
            raise ModelUnavailable(
                f"{index} names {strange[0]}, which is no safetensors file beside it: choose "
                "another revision= or another model."
            )
        if lacking := sorted(shard for shard in shards if not (part / shard).exists()):
            raise ModelUnavailable(f"{part} lacks {lacking[0]}: download the model again.")


def _is_shard(name: object) -> bool:
    """Libraries read a shard by its name's end, a pickle too, and wherever it leads."""
    return isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")


def _foreign_kernel(config: object) -> str | None:
    """A repository of compiled code that the config asks for: transformers would load it."""
    if not isinstance(config, dict):
        return None
    for name, value in config.items():
        if name.endswith("attn_implementation") and isinstance(value, str) and "/" in value:
            return value
        if found := _foreign_kernel(value):
            return found
    return None


def _parts(index: Path) -> list[str]:
    """The folders of a pipeline: each entry of its index that names a library and a class."""
    return [
        name
        for name, kind in _read(index).items()
        if isinstance(kind, list) and not name.startswith("_") and kind[0] is not None
    ]


def _read(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelUnavailable(f"{file} is no JSON ({error}): download the model again.") from error
    return content
