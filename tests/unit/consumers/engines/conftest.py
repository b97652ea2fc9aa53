from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from common.catalogue import ModelSpec
from common.job import Parameter
from consumers.engines import open_engine
from consumers.engines.base import Engine, EngineInput, EngineResult, Run

MAX_PIXELS = 40_000_000


class Notes(Run):
    """A run that notes what it is told, and is canceled from the question `cancel_at` on."""

    def __init__(self, cancel_at: int | None = None) -> None:
        self.told: list[float] = []
        self.asked = 0
        self._cancel_at = cancel_at

    def progress(self, _: str, fraction: float) -> None:
        self.told.append(fraction)

    def canceled(self, _: str) -> bool:
        self.asked += 1
        return self._cancel_at is not None and self.asked >= self._cancel_at


def opened(model: ModelSpec, device: str = "cpu", dtype: str = "auto") -> Engine:
    """An engine with its model loaded."""
    engine = open_engine(model, device=device, dtype=dtype, max_pixels=MAX_PIXELS)
    engine.load()
    return engine


def ask(
    engine: Engine,
    image: bytes | None,
    parameters: Mapping[str, Parameter] = {},
    run: Run | None = None,
) -> Any:
    """The result of one input."""
    inputs = {} if image is None else {"image": image}
    item = EngineInput(id="one", parameters=dict(parameters), inputs=inputs)
    results: list[EngineResult] = engine.run([item], run or Notes())
    return results[0]


def saved(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def read(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.fixture(scope="session")
def scene() -> Image.Image:
    """Navy, with an orange disc and a white rectangle; 120x80."""
    image = Image.new("RGB", (120, 80), (12, 22, 100))
    pen = ImageDraw.Draw(image)
    pen.ellipse((20, 20, 55, 55), fill=(255, 145, 25))
    pen.rectangle((75, 10, 105, 40), fill="white")
    return image


@pytest.fixture(scope="session")
def photo(scene: Image.Image) -> bytes:
    return saved(scene, "JPEG", quality=95)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model by the name of its builder: git, blip, vlm, diffusion."""
    from tests import tiny_models

    root = tmp_path_factory.mktemp("tiny")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            getattr(tiny_models, f"build_tiny_{name}")(root / name)
        return root / name

    return folder
