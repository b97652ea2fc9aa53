from __future__ import annotations

from pathlib import Path

import pytest

from cli.client import Result
from cli.errors import ItemFailed
from cli.sidecars import ImageSidecars, TextSidecars, bases

CAPTION = Result("a red circle, é".encode(), "text/plain")
PNG = Result(b"\x89PNG", "image/png")
WEBP = Result(b"RIFF", "image/webp")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def chosen(*images: str) -> list[str]:
    return list(bases([Path(image) for image in images]).values())


def test_a_picture_alone_gives_its_stem() -> None:
    assert chosen("a.jpg", "b.c.png", "sub/a.png") == ["a", "b.c", "a"]


def test_pictures_that_would_share_a_sidecar_keep_their_whole_names() -> None:
    assert chosen("a.jpg", "a.png", "b.jpg") == ["a.jpg", "a.png", "b"]
    assert chosen("A.jpg", "a.png") == ["A.jpg", "a.png"]


def test_a_whole_name_is_never_anothers_stem() -> None:
    assert chosen("a.jpg", "a.png", "a.jpg.png") == ["a.jpg", "a.png", "a.jpg.png"]


def test_a_caption_stands_beside_its_picture_with_a_line_end(tmp_path: Path) -> None:
    image = tmp_path / "photo.jpg"
    sidecars = TextSidecars([image])
    assert not sidecars.finished(image)
    sidecars.keep(image, CAPTION, "1")
    assert sidecars.finished(image)
    assert (tmp_path / "photo.txt").read_text("utf-8") == "a red circle, é\n"
    assert names(tmp_path) == ["photo.txt"]


def test_a_picture_is_no_caption(tmp_path: Path) -> None:
    image = tmp_path / "photo.jpg"
    with pytest.raises(ItemFailed, match="use --out images"):
        TextSidecars([image]).keep(image, PNG, "1")
    assert names(tmp_path) == []


def test_a_picture_is_named_by_the_model_and_its_true_type(tmp_path: Path) -> None:
    image = tmp_path / "photo.jpg"
    sidecars = ImageSidecars([image], "darkroom/pencil-sketch")
    sidecars.keep(image, PNG, "1")
    assert sidecars.finished(image)
    assert names(tmp_path) == ["photo.pencil-sketch.png"]


def test_a_new_picture_of_another_type_replaces_the_old_one(tmp_path: Path) -> None:
    image = tmp_path / "photo.jpg"
    sidecars = ImageSidecars([image], "darkroom/pencil-sketch")
    sidecars.keep(image, PNG, "1")
    sidecars.keep(image, WEBP, "2")
    assert names(tmp_path) == ["photo.pencil-sketch.webp"]


def test_another_models_picture_finishes_nothing(tmp_path: Path) -> None:
    image = tmp_path / "photo.jpg"
    ImageSidecars([image], "darkroom/pencil-sketch").keep(image, PNG, "1")
    assert not ImageSidecars([image], "darkroom/other").finished(image)


def test_a_caption_is_no_picture(tmp_path: Path) -> None:
    image = tmp_path / "photo.jpg"
    with pytest.raises(ItemFailed, match="use --out txt or jsonl"):
        ImageSidecars([image], "darkroom/shapes").keep(image, CAPTION, "1")


def test_a_result_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    image = tmp_path / "photo.jpg"
    (tmp_path / "photo.txt").mkdir()
    with pytest.raises(OSError, match="photo"):
        TextSidecars([image]).keep(image, CAPTION, "1")
    assert names(tmp_path) == ["photo.txt"]


def test_a_link_in_a_results_place_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside.txt", tmp_path / "pictures"
    outside.write_text("precious")
    folder.mkdir()
    image = folder / "photo.jpg"
    for name in ("photo.txt", "photo.sketch.png"):
        (folder / name).symlink_to(outside)
    TextSidecars([image]).keep(image, CAPTION, "1")
    ImageSidecars([image], "darkroom/sketch").keep(image, PNG, "1")
    assert outside.read_text() == "precious"
    assert not any(path.is_symlink() for path in folder.iterdir())
