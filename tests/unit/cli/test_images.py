from __future__ import annotations

from pathlib import Path

import pytest

from cli.errors import UsageWrong
from cli.images import find_images

MODELS = ["darkroom/pencil-sketch", "darkroom/echo", "plain"]


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_images(folder, MODELS)]


def test_pictures_of_all_folders_come_in_order(tmp_path: Path) -> None:
    fill(tmp_path, "b.jpg", "a.PNG", "sub/c.webp", "sub/deep/d.tiff", "z/e.jpeg", "f.gif", "g.bmp")
    assert found(tmp_path) == [
        "a.PNG",
        "b.jpg",
        "f.gif",
        "g.bmp",
        "sub/c.webp",
        "sub/deep/d.tiff",
        "z/e.jpeg",
    ]


def test_what_is_hidden_or_no_picture_is_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "a.txt", ".b.jpg", ".git/c.jpg", "captions.jsonl", "d", "e.jpg.part")
    assert found(tmp_path) == ["a.jpg"]


def test_results_of_an_earlier_run_are_no_inputs(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "a.pencil-sketch.png", "b.png", "b.png.echo.webp", "b.plain.jpg")
    assert found(tmp_path) == ["a.jpg", "b.png"]


def test_a_picture_that_only_looks_like_a_result_is_an_input(tmp_path: Path) -> None:
    fill(tmp_path, "a.pencil-sketch.png", "b.jpg", "b.final.jpg", "sub/b.echo.png")
    assert found(tmp_path) == ["a.pencil-sketch.png", "b.final.jpg", "b.jpg", "sub/b.echo.png"]


def test_a_folder_without_pictures_names_the_fix(tmp_path: Path) -> None:
    fill(tmp_path, "notes.txt")
    with pytest.raises(UsageWrong, match=r"holds no pictures: put some there"):
        find_images(tmp_path)


def test_what_is_no_folder_names_the_fix(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    for path in (tmp_path / "a.jpg", tmp_path / "none"):
        with pytest.raises(UsageWrong, match="not a folder"):
            find_images(path)


def test_a_link_that_leads_out_of_the_folder_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    fill(tmp_path, "secret.png", "elsewhere/b.png")
    fill(folder, "a.jpg", "sub/c.png")
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "up.png").symlink_to("../secret.png")
    (folder / "away").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "gone.png").symlink_to("nothing.png")
    (folder / "within.png").symlink_to("sub/c.png")
    assert found(folder) == ["a.jpg", "within.png", "sub/c.png"]


def test_a_strange_name_stays_a_name(tmp_path: Path) -> None:
    strange = [
        "C:evil.jpg",
        "b\\..\\up.jpg",
        "CON.jpg",
        "a\u2215b.jpg",
        "\u202egpj.jpg",
        "a\nb.jpg",
    ]
    fill(tmp_path, *strange)
    assert sorted(found(tmp_path)) == sorted(strange)
