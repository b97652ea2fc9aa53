"""Repositories of the hub that hold more than a model needs: what can carry code stays there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.abuse.hub import COMMIT, Hub, hub
from tests.tiny_models import build_tiny_diffusion, build_tiny_git

NAME = "evil/model"
KINDS = {".json", ".safetensors", ".txt", ".model", ".jinja"}
HOSTILE = [
    *("pytorch_model.bin", "training_args.bin", "model.pt", "model.pth", "weights.ckpt"),
    *("tokenizer.pkl", "data.pickle", "arrays.npy", "arrays.npz", "net.joblib", "net.onnx"),
    *("tf_model.h5", "net.keras", "flax_model.msgpack", "net.gguf", "net.mar", "net.nemo"),
    *("modeling_evil.py", "evil.pyc", "kernel.so", "setup.sh", "a.ipynb", "evil.zip", "evil.whl"),
    *("model.safetensors.py", "config.json.py", "config.jsonl", "MODEL.SAFETENSORS.BIN", "json"),
    *(".gitattributes", "Makefile", "Dockerfile", "README.md", "model.safetensors.bin"),
]
FOLDERS = ["", "custom_generate", "unet", "unet/deep", "original", "x.json", "x.safetensors"]
FETCH = (
    "from common.catalogue import ModelSpec\n"
    "from consumers.engines.weights import folder_of\n"
    f"print(folder_of(ModelSpec(name={NAME!r})))"
)


def spoil(folder: Path) -> None:
    """Every hostile kind of file, at the top and in folders of any name."""
    for below in FOLDERS:
        (folder / below).mkdir(parents=True, exist_ok=True)
        for name in HOSTILE:
            (folder / below / name).write_text("evil")


def fetched(serving: Hub, home: Path) -> subprocess.CompletedProcess[str]:
    """What a process says that wants the model, and has nothing of it."""
    environment = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": serving.url}
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "-c", FETCH],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("build", [build_tiny_git, build_tiny_diffusion])
def test_of_a_hostile_repository_only_data_is_asked_for(
    build: Callable[[Path], None], tmp_path: Path
) -> None:
    build(tmp_path / "model")
    needed = {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()}
    spoil(tmp_path / "model")
    with hub(NAME, tmp_path / "model") as serving:
        got = fetched(serving, tmp_path / "home")
    assert got.returncode == 0, got.stderr
    folder = Path(got.stdout.strip())
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    assert folder.name == COMMIT
    assert {Path(path).suffix for path in serving.asked} <= KINDS
    assert {Path(path).suffix for path in here} == needed & KINDS  # and the model came whole
    assert here <= serving.asked


def test_of_a_repository_without_safetensors_nothing_is_asked_for(tmp_path: Path) -> None:
    spoil(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{}")
    with hub(NAME, tmp_path / "model") as serving:
        got = fetched(serving, tmp_path / "home")

    assert "has no weights in safetensors on the hub" in got.stderr
    assert serving.asked == set()
