from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.catalogue import Catalogue, ModelSpec, Task, read_catalogue
from common.errors import CatalogueInvalid, UnknownModel
from common.settings import PROJECT


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hugging Face hub."""
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf" / "hub"


def read(folder: Path, text: str) -> Catalogue:
    (folder / "model_names.txt").write_text(text, encoding="utf-8")
    return read_catalogue(folder / "model_names.txt")


def refused(folder: Path, text: str) -> CatalogueInvalid:
    with pytest.raises(CatalogueInvalid) as raised:
        read(folder, text)
    return raised.value


def download(hub: Path, name: str, file: str, content: object, *, reference: str = "main") -> None:
    repository = hub / ("models--" + name.replace("/", "--"))
    snapshot = repository / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True, exist_ok=True)
    (snapshot / file).write_text(json.dumps(content))
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / reference).write_text("0123abcd")


def test_blank_lines_and_comments_say_nothing_and_the_order_is_kept(tmp_path: Path) -> None:
    text = "# first\n\no/two task=echo  # why\n  \no/one task=echo\n"

    assert [model.name for model in read(tmp_path, text)] == ["o/two", "o/one"]


def test_options_are_read_with_their_types(tmp_path: Path) -> None:
    line = (
        "o/m task=image_to_image revision=abc min=2 max=3 target=9 cooldown=1.5 hold_down=2"
        " device=cuda:1 dtype=float16"
        " prompt='a = b # c' max_new_tokens=7 steps=4 strength=0.25 guidance=0"
    )

    [model] = read(tmp_path, line)

    assert model == ModelSpec(
        name="o/m",
        task=Task.IMAGE_TO_IMAGE,
        revision="abc",
        min=2,
        max=3,
        target=9.0,
        cooldown=1.5,
        hold_down=2.0,
        device="cuda:1",
        dtype="float16",
        prompt="a = b # c",
        max_new_tokens=7,
        steps=4,
        strength=0.25,
        guidance=0.0,
    )


def test_a_file_from_windows_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "model_names.txt").write_bytes(b"\xef\xbb\xbfo/m task=echo\r\n")

    assert [model.name for model in read_catalogue(tmp_path / "model_names.txt")] == ["o/m"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("o/m prompt='open", "No closing quotation"),
        ("o/m task", "'task' is not an option: write KEY=VALUE"),
        ("o/m prompt=a cat", "'cat' is not an option"),
        ("o/m prompt=", "'prompt=' is not an option"),
        ("o/m colour=red", "there is no option colour=: use task= path= revision="),
        ("o/m name=other", "there is no option name="),
        ("o/m min=1 min=2", "min= stands here twice"),
        ("o/m min=many", "Expected `int`, got `str` - at `$.min`"),
        ("o/m min=-1", "Expected `int` >= 0 - at `$.min`"),
        ("o/m cooldown=nan", "Expected `float` >= 0.0 - at `$.cooldown`"),
        ("o/m max=0", "Expected `int` >= 1 - at `$.max`"),
        ("o/m min=2 max=1", "min=2 is more than max=1"),
        ("o/m steps=0", "Expected `int` >= 1 - at `$.steps`"),
        ("o/m strength=2", "Expected `float` <= 1.0 - at `$.strength`"),
        ("echo task=echo", "'echo' is not OWNER/NAME"),
        ("../.. task=echo", "'../..' is not OWNER/NAME"),
        ("o/m#c task=echo", "'o/m#c' is not OWNER/NAME"),
        ("o/m task=echo dtype=int3", "dtype"),
        ("o/m task=echo device=banana", "device"),
        ("o/m task=image_to_image steps=1000", "steps"),
        ("o/m task=image_to_text max_new_tokens=5000", "max_new_tokens"),
        ("o/m task=dance", "task=dance: use one of echo, image_to_text"),
        ("o/m makes=noise", "Invalid enum value 'noise' - at `$.makes`"),
        ("o/m task=echo makes=image", "makes= is for custom models"),
        ("o/m path=nowhere", "path=nowhere: there is no such file or folder"),
        ("o/m task=custom", "task=custom and path=FILE.py"),
        ("o/m task=echo path=class.py", "task=custom and path=FILE.py"),
        ("o/m/x task=echo", "'o/m/x' is not OWNER/NAME"),
        (f"o/{'m' * 200} task=echo", "the name is too long"),
    ],
)
def test_a_line_that_makes_no_sense_is_named_with_its_reason(
    tmp_path: Path, line: str, reason: str
) -> None:
    (tmp_path / "class.py").touch()

    error = refused(tmp_path, f"# models\n\n{line}\n")

    assert (error.file, error.line) == (str(tmp_path / "model_names.txt"), 3)
    assert reason in error.reason
    assert str(error) == f"{error.file}:3: {error.reason}"


def test_a_model_named_twice_is_refused_at_the_second_line(tmp_path: Path) -> None:
    error = refused(tmp_path, "o/m task=echo\no/n task=echo\no/m task=echo\n")

    assert error.line == 3
    assert "o/m stands here twice" in error.reason


@pytest.mark.parametrize("make", ["missing", "folder", "latin-1"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, make: str) -> None:
    file = tmp_path / "model_names.txt"
    if make == "folder":
        file.mkdir()
    elif make == "latin-1":
        file.write_bytes("o/m prompt=é".encode("latin-1"))

    with pytest.raises(CatalogueInvalid, match="cannot be read"):
        read_catalogue(file)


def test_a_path_is_relative_to_the_catalogues_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text('{"model_type": "git"}')

    [model] = read(tmp_path, "o/m path=weights")

    assert model.path == tmp_path / "weights"
    assert model.task is Task.IMAGE_TO_TEXT


def test_a_pipeline_of_diffusers_makes_images(tmp_path: Path) -> None:
    (tmp_path / "sd").mkdir()
    (tmp_path / "sd" / "model_index.json").write_text("{}")

    [model] = read(tmp_path, "o/m path=sd")

    assert model.task is Task.IMAGE_TO_IMAGE
    assert model.makes_images


def test_a_python_file_is_a_custom_model(tmp_path: Path) -> None:
    (tmp_path / "sketch.py").touch()

    [model] = read(tmp_path, "o/m path=sketch.py makes=image")

    assert model.task is Task.CUSTOM
    assert model.makes_images


@pytest.mark.parametrize("config", ["", "[]", "{", '{"architectures": []}'])
def test_a_config_that_does_not_tell_the_task_is_named(tmp_path: Path, config: str) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text(config)

    assert str(tmp_path / "weights" / "config.json") in refused(tmp_path, "o/m path=weights").reason


def test_a_folder_without_a_config_needs_a_task(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()

    assert "give task=" in refused(tmp_path, "o/m path=weights").reason
    [model] = read(tmp_path, "o/m path=weights task=image_to_text")
    assert model.task is Task.IMAGE_TO_TEXT


def test_the_task_of_a_downloaded_model_is_read_from_the_hubs_cache(
    tmp_path: Path, hub: Path
) -> None:
    download(hub, "o/caption", "config.json", {"model_type": "blip"})
    download(hub, "o/paint", "model_index.json", {}, reference="v2")

    tasks = {model.name: model.task for model in read(tmp_path, "o/caption\no/paint revision=v2")}

    assert tasks == {"o/caption": Task.IMAGE_TO_TEXT, "o/paint": Task.IMAGE_TO_IMAGE}


def test_the_task_of_a_model_that_is_not_here_yet_is_unknown(tmp_path: Path, hub: Path) -> None:
    download(hub, "o/half", "tokenizer.json", {})
    download(hub, "o/other", "config.json", {"model_type": "blip"})

    models = read(tmp_path, "o/absent\no/half\no/other revision=v9")

    assert [model.task for model in models] == [None, None, None]


def test_an_unknown_model_lists_the_known_ones(tmp_path: Path) -> None:
    catalogue = read(tmp_path, "o/one task=echo\no/two task=echo\n")

    assert catalogue["o/two"].name == "o/two"
    with pytest.raises(UnknownModel, match=r"no model 'o/three'\. Known models: o/one, o/two\."):
        catalogue["o/three"]


def test_the_projects_own_catalogue_makes_sense() -> None:
    names = {model.name for model in read_catalogue(PROJECT / "model_names.txt")}

    assert {"darkroom/shapes", "darkroom/echo"} <= names


@pytest.mark.parametrize("comment", ["# it's one", "#one", "\t# a=b 'c"])
def test_a_comment_may_hold_anything(tmp_path: Path, comment: str) -> None:
    [model] = read(tmp_path, f"o/m task=echo prompt=a#b {comment}")
    assert model.prompt == "a#b"
