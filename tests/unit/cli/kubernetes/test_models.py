from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.kubernetes.models import catalogue_text, device_of
from common.catalogue import Catalogue, read_catalogue
from common.errors import SettingsInvalid
from common.settings import PROJECT, Settings


def test_what_pods_read_is_the_catalogue_as_it_was_read_here(
    catalogue: Callable[..., Catalogue], tmp_path: Path
) -> None:
    here = catalogue(
        "a/b task=echo min=2 max=3 target=0.5 cooldown=0 hold_down=0 dtype=float16",
        "a/c task=image_to_text \"prompt=what's # in 'it'?\" max_new_tokens=9 revision=main",
        "a/d task=image_to_image steps=4 strength=0 guidance=0 device=cpu",
        "a/unknown",
    )
    there = tmp_path / "there.txt"
    there.write_text(catalogue_text(here, project="/app"))
    assert list(read_catalogue(there)) == list(here)


def test_paths_are_those_of_the_image() -> None:
    text = catalogue_text(read_catalogue(PROJECT / "model_names.txt"), project="/srv/darkroom")
    assert "path=/srv/darkroom/models/shapes/weights" in text
    assert str(PROJECT) not in text.replace("/srv/darkroom", "")


def test_a_path_that_no_image_holds_is_refused(
    catalogue: Callable[..., Catalogue], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").touch()
    with pytest.raises(SettingsInvalid, match=r"path=.*mine\.py of me/mine: .*put it there"):
        catalogue_text(catalogue("me/mine path=mine.py makes=text"), project="/app")


def test_a_pod_sees_only_the_gpu_that_it_was_given(catalogue: Callable[..., Catalogue]) -> None:
    (model,) = catalogue("a/b task=echo device=cuda:3")
    assert device_of(model, Settings.model_validate({})) == "cuda"
    assert catalogue_text([model], project="/app") == "a/b task=echo device=cuda\n"


def test_a_gpu_that_no_container_has_is_refused(catalogue: Callable[..., Catalogue]) -> None:
    (model,) = catalogue("a/b task=echo")
    with pytest.raises(SettingsInvalid, match="device=mps of a/b"):
        device_of(model, Settings.model_validate({"device": "mps"}))
