from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from common.catalogue import ModelSpec, Task
from common.errors import ModelUnavailable
from consumers.engines.base import EngineOutput
from tests.unit.consumers.engines.conftest import ask, opened

TASKS = {"git": Task.IMAGE_TO_TEXT, "diffusion": Task.IMAGE_TO_IMAGE}


@pytest.fixture(params=["git", "diffusion"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(kind: str, tiny: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a tiny model, to be damaged."""
    return Path(shutil.copytree(tiny(kind), tmp_path / "model"))


def spec(folder: Path, task: Task | None) -> ModelSpec:
    return ModelSpec(name="me/tiny", task=task, path=folder)


def failure(model: ModelSpec, device: str = "cpu", dtype: str = "auto") -> str:
    with pytest.raises(ModelUnavailable) as caught:
        opened(model, device, dtype)
    return str(caught.value)


def weights_of(folder: Path) -> Path:
    return next(iter(sorted(folder.rglob("*.safetensors"))))


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_the_files_decide_where_the_catalogue_could_not(
    kind: str, folder: Path, photo: bytes
) -> None:
    engine = opened(spec(folder, None))
    made = ask(engine, photo, {"prompt": "a"})
    assert isinstance(made, EngineOutput)
    assert (made.text is None) == (kind == "diffusion")
    assert engine.device == "cpu"
    engine.close()


def test_weights_that_are_no_safetensors_are_refused(kind: str, folder: Path) -> None:
    weights = weights_of(folder)
    weights.rename(weights.with_name("pytorch_model.bin"))
    said = failure(spec(folder, TASKS[kind]))
    assert "no weights in safetensors" in said
    assert "save_pretrained" in said


def test_broken_weights_are_refused(kind: str, folder: Path) -> None:
    weights = weights_of(folder)
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "does not load as an image-to-" in failure(spec(folder, TASKS[kind]))


def test_weights_with_a_part_missing_are_never_filled_with_noise(kind: str, folder: Path) -> None:
    weights = weights_of(folder)
    tensors = load_file(weights)
    tensors.pop(sorted(tensors)[-1])
    save_file(tensors, weights, metadata={"format": "pt"})
    assert " lack " in failure(spec(folder, TASKS[kind]))


def test_a_missing_shard_is_named(kind: str, folder: Path) -> None:
    weights = weights_of(folder)
    index = weights.with_name("model.safetensors.index.json")
    index.write_text(json.dumps({"weight_map": {"a": "model-00002-of-00002.safetensors"}}))
    said = failure(spec(folder, TASKS[kind]))
    assert "lacks model-00002-of-00002.safetensors: download" in said


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    for task in (*TASKS.values(), None):
        assert "holds no model" in failure(spec(tmp_path, task))


def test_a_broken_config_is_refused(kind: str, folder: Path) -> None:
    name = "model_index.json" if kind == "diffusion" else "config.json"
    (folder / name).write_text("{")
    assert failure(spec(folder, TASKS[kind]))


def test_a_model_of_another_kind_is_refused(kind: str, folder: Path) -> None:
    other = next(task for name, task in TASKS.items() if name != kind)
    assert failure(spec(folder, other))


def test_an_architecture_that_writes_no_text_is_refused(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny("git"), tmp_path / "model"))
    edit(folder / "config.json", model_type="resnet", architectures=["ResNetModel"])
    assert "choose another model or task=" in failure(spec(folder, Task.IMAGE_TO_TEXT))


def test_code_from_a_repository_is_never_run(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("git"), tmp_path / "model"))
    proof = tmp_path / "it ran"
    (folder / "evil.py").write_text(f"open({str(proof)!r}, 'w').close()\n")
    auto = {"AutoConfig": "evil.Config", "AutoModelForImageTextToText": "evil.Model"}
    edit(folder / "config.json", model_type="evil", auto_map=auto)
    assert "needs code from its own repository" in failure(spec(folder, Task.IMAGE_TO_TEXT))
    assert not proof.exists()


def test_a_pipelines_own_code_is_never_run(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("diffusion"), tmp_path / "model"))
    proof = tmp_path / "it ran"
    (folder / "pipeline.py").write_text(f"open({str(proof)!r}, 'w').close()\n")
    edit(folder / "model_index.json", _class_name=["pipeline", "Pipeline"])
    assert failure(spec(folder, Task.IMAGE_TO_IMAGE))
    assert not proof.exists()


def test_a_device_or_number_format_that_is_not_there_is_refused(kind: str, folder: Path) -> None:
    model = spec(folder, TASKS[kind])
    assert "device=warp is not usable here" in failure(model, device="warp")
    assert "device=cuda:99 is not usable here" in failure(model, device="cuda:99")
    assert "dtype=int4 is not known" in failure(model, dtype="int4")


def test_a_wrong_option_of_the_models_line_is_named(kind: str, folder: Path) -> None:
    wrong = ModelSpec(name="me/tiny", task=TASKS[kind], path=folder, prompt="x" * 40_000)
    assert "model_names.txt: prompt has 40000 bytes" in failure(wrong)


OFFLINE = """
import time
from common.catalogue import ModelSpec, Task
from common.errors import ModelUnavailable
from consumers.engines.weights import folder_of
began = time.monotonic()
try:
    folder_of(ModelSpec(name="me/never-downloaded", revision={revision!r}))
except ModelUnavailable as error:
    print(error)
assert time.monotonic() - began < 20
"""


@pytest.mark.parametrize("revision", [None, "89b09ea1a789"])
def test_without_a_network_a_model_that_is_not_here_fails_soon(
    tmp_path: Path, revision: str | None
) -> None:
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path),
        "HF_ENDPOINT": "http://127.0.0.1:9",  # nothing listens there
    }
    code = OFFLINE.format(revision=revision)
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "is not on this machine and cannot be downloaded" in told.stdout
    assert "give path=" in told.stdout


def test_a_model_in_the_cache_needs_no_network(
    kind: str, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    repository = tmp_path / "hub" / "models--me--cached"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(tiny(kind), snapshot)
    code = (
        "from common.catalogue import ModelSpec\n"
        "from consumers.engines.weights import folder_of, task_of\n"
        "folder = folder_of(ModelSpec(name='me/cached'))\n"
        "print(folder, task_of(folder))"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == [str(snapshot), TASKS[kind].value]
    weights_of(snapshot).unlink()
    partial = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert "cannot be downloaded" in partial.stderr
