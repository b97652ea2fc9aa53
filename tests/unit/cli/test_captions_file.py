from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cli.captions_file import NAME, CaptionsFile
from cli.client import Result
from cli.errors import ItemFailed, UsageWrong

BROKEN = ItemFailed("The JPEG ends too early.", "truncated_image")
FULL = pytest.importorskip("resource")


def caption(text: str) -> Result:
    return Result(text.encode(), "text/plain")


def rows(folder: Path) -> list[dict[str, str | None]]:
    return [json.loads(line) for line in (folder / NAME).read_bytes().splitlines()]


def open_file(folder: Path) -> CaptionsFile:
    return CaptionsFile(folder, "darkroom/shapes")


def test_rows_name_file_caption_model_and_job(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    file.keep(tmp_path / "sub" / "a.jpg", caption("a red circle, é"), "1")
    file.keep_error(tmp_path / "b.jpg", BROKEN)
    file.close()
    assert rows(tmp_path) == [
        {
            "file": "sub/a.jpg",
            "caption": "a red circle, é",
            "model": "darkroom/shapes",
            "id": "1",
        },
        {
            "file": "b.jpg",
            "error": "The JPEG ends too early.",
            "model": "darkroom/shapes",
            "id": None,
        },
    ]


def test_what_has_a_caption_is_finished_and_what_failed_is_not(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    file.keep(tmp_path / "a.jpg", caption("x"), "1")
    file.keep_error(tmp_path / "b.jpg", BROKEN)
    for again in (file, open_file(tmp_path)):
        assert again.finished(tmp_path / "a.jpg")
        assert not again.finished(tmp_path / "b.jpg")
        assert not again.finished(tmp_path / "c.jpg")


def test_a_caption_replaces_the_error_and_the_older_caption(tmp_path: Path) -> None:
    first = open_file(tmp_path)
    first.keep(tmp_path / "a.jpg", caption("old"), "1")
    first.keep_error(tmp_path / "b.jpg", BROKEN)
    first.close()
    second = open_file(tmp_path)
    second.keep(tmp_path / "b.jpg", caption("mended"), "2")
    second.keep(tmp_path / "a.jpg", caption("new"), "3")
    second.close()
    assert [(row["file"], row["caption"]) for row in rows(tmp_path)] == [
        ("a.jpg", "new"),
        ("b.jpg", "mended"),
    ]


def test_a_failed_second_try_keeps_the_old_caption(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    file.keep(tmp_path / "a.jpg", caption("old"), "1")
    file.keep_error(tmp_path / "a.jpg", BROKEN)
    file.close()
    assert [row.get("caption") for row in rows(tmp_path)] == ["old"]


def test_a_repeated_error_stays_one_row(tmp_path: Path) -> None:
    for _ in range(3):
        file = open_file(tmp_path)
        file.keep_error(tmp_path / "a.jpg", BROKEN)
        file.close()
    assert len(rows(tmp_path)) == 1


def test_after_a_kill_only_the_torn_row_is_missing(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    for name in "abc":
        file.keep(tmp_path / f"{name}.jpg", caption(name), name)
    path = tmp_path / NAME
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        again = open_file(tmp_path)
        complete = whole[: cut + 1].count(b"\n")  # a row that misses but its line's end is whole
        finished = [name for name in "abc" if again.finished(tmp_path / f"{name}.jpg")]
        assert finished == list("abc"[:complete])
        again.keep(tmp_path / "d.jpg", caption("d"), "d")
        again.close()
        assert [row["caption"] for row in rows(tmp_path)] == [*"abc"[:complete], "d"]


def test_a_kill_before_the_end_leaves_the_newest_caption(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    file.keep(tmp_path / "a.jpg", caption("old"), "1")
    file.keep(tmp_path / "a.jpg", caption("new"), "2")
    assert len(rows(tmp_path)) == 2
    open_file(tmp_path)
    assert [row["caption"] for row in rows(tmp_path)] == ["new"]


def test_columns_that_the_user_added_stay(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"file": "a.jpg", "caption": "x", "stars": 5}\n')
    file = open_file(tmp_path)
    file.keep_error(tmp_path / "b.jpg", BROKEN)
    file.keep(tmp_path / "b.jpg", caption("y"), "1")
    file.close()
    assert rows(tmp_path)[0] == {"file": "a.jpg", "caption": "x", "stars": 5}


@pytest.mark.parametrize("content", ["not json\n", '{"name": "a.jpg"}\n', "[1]\n", "\n", "\xff\n"])
def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / NAME
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageWrong, match=r"captions\.jsonl:1 is not a row of ours"):
        open_file(tmp_path)
    assert path.read_bytes() == content.encode("latin-1")


def test_rows_from_several_threads_do_not_mix(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        for number in range(200):
            pool.submit(file.keep, tmp_path / f"{number}.jpg", caption("x" * number), "1")
    file.close()
    assert {row["file"] for row in rows(tmp_path)} == {f"{number}.jpg" for number in range(200)}


def test_a_name_that_is_no_text_comes_back(tmp_path: Path) -> None:
    image = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    file = open_file(tmp_path)
    file.keep(image, caption("x"), "1")
    file.close()
    assert open_file(tmp_path).finished(image)


def test_a_full_disk_leaves_whole_rows(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    file.keep(tmp_path / "a.jpg", caption("x"), "1")
    soft, hard = FULL.getrlimit(FULL.RLIMIT_FSIZE)
    FULL.setrlimit(FULL.RLIMIT_FSIZE, ((tmp_path / NAME).stat().st_size + 10, hard))
    try:
        with pytest.raises(OSError, match="disk is full"):
            file.keep(tmp_path / "b.jpg", caption("y"), "2")
    finally:
        FULL.setrlimit(FULL.RLIMIT_FSIZE, (soft, hard))
    assert [row["file"] for row in rows(tmp_path)] == ["a.jpg"]
    assert not file.finished(tmp_path / "b.jpg")


def test_nothing_is_kept_after_the_end(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    file.keep(tmp_path / "a.jpg", caption("x"), "1")
    file.close()
    file.keep(tmp_path / "b.jpg", caption("y"), "2")
    assert [row["file"] for row in rows(tmp_path)] == ["a.jpg"]


def test_a_link_in_its_place_is_not_written_through(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "pictures"
    folder.mkdir()
    (folder / "captions.jsonl").symlink_to(outside)
    with pytest.raises(UsageWrong, match="is a link"):
        CaptionsFile(folder, "m")
    assert not outside.exists()
