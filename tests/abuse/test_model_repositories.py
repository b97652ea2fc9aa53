"""Models whose repositories carry code: none of it runs, and what needs it says so."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from PIL import Image
from safetensors.torch import load_file

from common.catalogue import ModelSpec, Task
from common.errors import ModelUnavailable
from tests.tiny_models import build_tiny_diffusion, build_tiny_git, build_tiny_vlm
from tests.unit.consumers.engines.conftest import ask, opened, saved

pytestmark = pytest.mark.filterwarnings("ignore")  # what libraries say of such files

PICTURE = Image.new("RGB", (40, 30), "teal")
Spoil = Callable[[Path, str], None]  # a model's folder, and a line of Python that proves it ran


class Proof:
    """What unpickles into a file."""

    def __init__(self, proof: str) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.proof}",)


def edit(file: Path, **changes: object) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **changes}))


def code(folder: Path, proof: str, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"open({proof!r}, 'w').close()\nclass Thing: pass\n")


def pickled(folder: Path, proof: str, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(pickle.dumps(Proof(proof)))


def only_a_pickle(folder: Path, proof: str) -> None:
    (folder / "model.safetensors").unlink()
    pickled(folder, proof, "pytorch_model.bin")


def pickles_beside_the_weights(folder: Path, proof: str) -> None:
    pickled(
        folder, proof, "pytorch_model.bin", "optimizer.pt", "tokenizer.pkl", "training_args.bin"
    )


def a_pickle_by_the_name_of_safetensors(folder: Path, proof: str) -> None:
    pickled(folder, proof, "model.safetensors")


def an_index_that_names_a_pickle(folder: Path, proof: str) -> None:
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    pickled(folder, proof, "weights.bin")
    edit(
        folder / "model.safetensors.index.json",
        metadata={"total_size": 1},
        weight_map=dict.fromkeys(names, "weights.bin"),
    )


def an_index_that_leads_outside(folder: Path, proof: str) -> None:
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    (folder / "here.safetensors").write_bytes(b"")
    edit(
        folder / "model.safetensors.index.json",
        metadata={"total_size": 1},
        weight_map=dict.fromkeys(names, "../outside.safetensors"),
    )


def a_header_that_promises_more(folder: Path, proof: str) -> None:
    header = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)


def a_header_without_an_end(folder: Path, proof: str) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{")


def a_model_of_its_own(folder: Path, proof: str) -> None:
    code(folder, proof, "evil.py")
    auto = {"AutoConfig": "evil.Thing", "AutoModelForImageTextToText": "evil.Thing"}
    edit(folder / "config.json", model_type="evil", auto_map=auto)


def a_known_model_with_code(folder: Path, proof: str) -> None:
    code(folder, proof, "evil.py")
    auto = {"AutoConfig": "evil.Thing", "AutoModelForImageTextToText": "evil.Thing"}
    edit(folder / "config.json", auto_map=auto)


def a_model_of_another_repository(folder: Path, proof: str) -> None:
    edit(
        folder / "config.json",
        model_type="evil",
        auto_map={"AutoConfig": "evil/repository--evil.Thing"},
    )


def a_processor_of_its_own(folder: Path, proof: str) -> None:
    code(folder, proof, "evil.py")
    auto = {"AutoProcessor": "evil.Thing", "AutoImageProcessor": "evil.Thing"}
    for name in ("processor_config.json", "preprocessor_config.json"):
        edit(folder / name, processor_class="EvilProcessor", auto_map=auto)


def a_tokenizer_of_its_own(folder: Path, proof: str) -> None:
    code(folder, proof, "evil.py")
    auto = {"AutoTokenizer": ["evil.Thing", "evil.Thing"]}
    edit(folder / "tokenizer_config.json", tokenizer_class="EvilTokenizer", auto_map=auto)


def generation_of_its_own(folder: Path, proof: str) -> None:
    code(folder, proof, "custom_generate/generate.py")


def attention_from_elsewhere(folder: Path, proof: str) -> None:
    edit(folder / "config.json", attn_implementation="evil/kernel")


def a_template_that_reaches_out(folder: Path, proof: str) -> None:
    reach = f"{{{{ cycler.__init__.__globals__.os.system('touch {proof}') }}}}"
    (folder / "chat_template.jinja").write_text(reach)
    edit(folder / "tokenizer_config.json", chat_template=reach)


def links_to_secrets(folder: Path, proof: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/etc/passwd")


def a_pipeline_of_its_own(folder: Path, proof: str) -> None:
    code(folder, proof, "pipeline.py", "evil.py")
    edit(folder / "model_index.json", _class_name=["pipeline", "Thing"])


def a_part_of_its_own(folder: Path, proof: str) -> None:
    code(folder, proof, "unet/evil.py")
    edit(folder / "model_index.json", unet=["evil", "Thing"])


def a_part_of_any_module(folder: Path, proof: str) -> None:
    code(folder, proof, "evil_module.py")
    edit(folder / "model_index.json", unet=["evil_module", "Thing"])


def a_part_that_is_a_command(folder: Path, proof: str) -> None:
    edit(folder / "model_index.json", unet=["subprocess", "Popen"])


def a_part_that_leads_outside(folder: Path, proof: str) -> None:
    edit(folder / "model_index.json", **{"../../outside": ["diffusers", "UNet2DConditionModel"]})


def a_part_with_a_pickle(folder: Path, proof: str) -> None:
    for weights in (folder / "unet").glob("*.safetensors"):
        weights.unlink()
    pickled(folder / "unet", proof, "diffusion_pytorch_model.bin")


WORKS = ""  # the code lies there unread
ATTACKS: list[tuple[str, Spoil, str]] = [
    ("git", only_a_pickle, "no weights in safetensors"),
    ("git", pickles_beside_the_weights, WORKS),
    ("git", a_pickle_by_the_name_of_safetensors, "does not load"),
    ("git", an_index_that_names_a_pickle, "weights.bin"),
    ("git", an_index_that_leads_outside, "outside.safetensors"),
    ("git", a_header_that_promises_more, "does not load"),
    ("git", a_header_without_an_end, "does not load"),
    ("git", a_model_of_its_own, "needs code from its own repository"),
    ("git", a_known_model_with_code, WORKS),
    ("git", a_model_of_another_repository, "needs code from its own repository"),
    ("git", a_processor_of_its_own, "needs code from its own repository"),
    ("git", a_tokenizer_of_its_own, WORKS),
    ("git", generation_of_its_own, WORKS),
    ("git", attention_from_elsewhere, "needs code from its own repository"),
    ("git", links_to_secrets, "does not load"),
    ("vlm", a_template_that_reaches_out, "is unsafe"),
    ("diffusion", a_pipeline_of_its_own, "does not load"),
    ("diffusion", a_part_of_its_own, "needs code from its own repository"),
    ("diffusion", a_part_of_any_module, "needs code from its own repository"),
    ("diffusion", a_part_that_is_a_command, "does not load"),
    ("diffusion", a_part_that_leads_outside, "missing"),
    ("diffusion", a_part_with_a_pickle, "no weights in safetensors"),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    build_tiny_git(folder / "git")
    build_tiny_vlm(folder / "vlm")
    build_tiny_diffusion(folder / "diffusion")
    return folder


@pytest.mark.parametrize(("kind", "spoil", "reason"), ATTACKS, ids=[a[1].__name__ for a in ATTACKS])
def test_nothing_of_a_repository_is_run(
    sound: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    spoil: Spoil,
    reason: str,
) -> None:
    folder, proof = tmp_path / "model", tmp_path / "it-ran"
    shutil.copytree(sound / kind, folder)
    spoil(folder, str(proof))
    monkeypatch.syspath_prepend(folder)  # as where a consumer is started in the model's folder
    task = Task.IMAGE_TO_IMAGE if kind == "diffusion" else Task.IMAGE_TO_TEXT
    said = ""
    try:
        engine = opened(ModelSpec(name="evil/model", task=task, path=folder))
        ask(engine, saved(PICTURE), {"prompt": "a"})
    except ModelUnavailable as error:
        said = str(error)

    assert not proof.exists()
    assert reason in said
    assert bool(said) == bool(reason), said


def test_the_pickle_would_run_where_pickles_are_read(tmp_path: Path) -> None:
    pickled(tmp_path, str(tmp_path / "it-ran"), "weights.bin")
    pickle.loads((tmp_path / "weights.bin").read_bytes())

    assert (tmp_path / "it-ran").exists()


def test_the_code_would_run_where_it_is_trusted(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound / "git", tmp_path / "model")
    a_model_of_its_own(tmp_path / "model", str(tmp_path / "it-ran"))
    hf: Any = transformers
    with pytest.raises(AttributeError):  # it is no configuration, once it has run
        hf.AutoConfig.from_pretrained(tmp_path / "model", trust_remote_code=True)

    assert (tmp_path / "it-ran").exists()
