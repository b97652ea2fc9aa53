"""Stacks that run: each test of the journey sees both."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import PROJECT, Stack, embedded, on_servers
from tests.tiny_models import build_tiny_blip, build_tiny_diffusion, build_tiny_vlm


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own model_names.txt, and tiny models beside it."""
    folder = tmp_path_factory.mktemp("catalogue")
    build_tiny_blip(folder / "blip")
    build_tiny_vlm(folder / "vlm")
    build_tiny_diffusion(folder / "diffusion")
    lines = (PROJECT / "model_names.txt").read_text().replace("path=", f"path={PROJECT}/")
    (folder / "model_names.txt").write_text(
        lines
        + "tiny/blip path=blip\n"
        + "tiny/vlm path=vlm\n"
        + "tiny/diffusion path=diffusion steps=2\n"
        + "tiny/missing task=image_to_text\n"
    )
    return folder / "model_names.txt"


@pytest.fixture(scope="module", params=["embedded", "servers"])
def stack(
    request: pytest.FixtureRequest, catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A running stack that a module's tests share."""
    folder = tmp_path_factory.mktemp("stack")
    settings = {"DARKROOM_MODEL_NAMES": str(catalogue), "DARKROOM_SLOTS": "4"}
    settings["DARKROOM_URL_ALLOWLIST"] = "127.0.0.1"  # where tests serve images
    if request.param == "embedded":
        running = embedded(folder, **settings)
    else:
        running = on_servers(folder, request.getfixturevalue("servers"), **settings)
    running.start()
    yield running
    running.stop()
    shutil.rmtree(folder / "data", ignore_errors=True)
