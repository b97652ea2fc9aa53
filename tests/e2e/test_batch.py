"""`darkroom batch` and the folder script, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from models.shapes.draw import draw
from tests.e2e.stack import PROJECT, Json, Stack, eventually

BATCH = ("-m", "cli", "batch")
LOCAL_BATCH = (str(PROJECT / "local_batch.py"),)
COLOURS = ("red", "blue", "black", "white", "navy", "orange")
MANY = 40


def begin(stack: Stack, folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *BATCH, str(folder), *words],
        cwd=PROJECT,
        env={**os.environ, "DARKROOM_URL": stack.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell started in the background ignore Ctrl-C, and so would this.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def told(running: subprocess.Popen[str], *, code: int = 0) -> tuple[str, str]:
    """Its stdout and stderr, once it has ended with `code`."""
    output, errors = running.communicate(timeout=240)
    assert running.returncode == code, errors
    assert "Traceback" not in errors
    return output, errors


def batch(stack: Stack, folder: Path, *words: str, code: int = 0) -> str:
    """What it tells people."""
    return told(begin(stack, folder, *words), code=code)[1]


def counted(stack: Stack, folder: Path, *words: str, code: int = 0) -> Json:
    """What it tells programs."""
    output, errors = told(begin(stack, folder, *words, "--json"), code=code)
    assert errors == ""
    summary: Json = json.loads(output)
    return summary


def paint(folder: Path, count: int) -> dict[str, str]:
    """Pictures of one colour each, and the palette's words for them."""
    folder.mkdir(parents=True, exist_ok=True)
    captions = {}
    for number in range(count):
        colour = COLOURS[number % len(COLOURS)]
        Image.new("RGB", (64 + number, 48), colour).save(folder / f"{number:03}.jpg", quality=95)
        captions[f"{number:03}.jpg"] = f"all {colour}"
    return captions


def sidecars(folder: Path) -> dict[Path, tuple[str, int]]:
    """Every .txt below the folder: what it says, and when it was written."""
    return {path: (path.read_text(), path.stat().st_mtime_ns) for path in folder.rglob("*.txt")}


def rows(folder: Path) -> list[Json]:
    return [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]


def test_each_picture_gets_its_right_caption_beside_it(stack: Stack, tmp_path: Path) -> None:
    captions = {}
    for number in range(6):
        path = tmp_path / ("sub" if number % 2 else "") / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        image, captions[path.with_suffix(".txt")] = draw(f"batch {number}")
        image.save(path)
    assert counted(stack, tmp_path, "--model", "darkroom/shapes")["done"] == 6
    assert {path: text for path, (text, _) in sidecars(tmp_path).items()} == {
        path: f"{caption}\n" for path, caption in captions.items()
    }


def test_an_interrupted_batch_goes_on_without_redoing_anything(
    stack: Stack, tmp_path: Path
) -> None:
    captions = paint(tmp_path, MANY)
    words = ("--model", "darkroom/palette", "--concurrency", "2")
    first = begin(stack, tmp_path, *words)
    eventually(lambda: len(sidecars(tmp_path)) >= 3)
    first.send_signal(signal.SIGINT)
    _, errors = told(first, code=130)
    assert "The same command goes on" in errors
    before = sidecars(tmp_path)
    assert 3 <= len(before) < MANY

    summary = counted(stack, tmp_path, *words)
    assert (summary["skipped"], summary["done"]) == (len(before), MANY - len(before))
    after = sidecars(tmp_path)
    assert {path: after[path] for path in before} == before
    assert {path.name: text for path, (text, _) in after.items()} == {
        name.replace(".jpg", ".txt"): f"{caption}\n" for name, caption in captions.items()
    }
    assert not list(tmp_path.rglob("*.part"))


def test_an_interrupt_cancels_the_jobs_in_flight(stack: Stack, tmp_path: Path) -> None:
    paint(tmp_path, 3)
    # A model that cannot be loaded: its jobs wait.
    first = begin(stack, tmp_path, "--model", "tiny/missing")

    def jobs(status: str) -> list[Json]:
        with stack.client() as client:
            query = {"model": "tiny/missing", "status": status}
            found: list[Json] = client.get("/v1/predictions", params=query).json()["results"]
        return found

    eventually(lambda: len(jobs("starting")) == 3)
    first.send_signal(signal.SIGINT)
    told(first, code=130)
    assert len(jobs("canceled")) == 3
    assert jobs("starting") == []
    assert sidecars(tmp_path) == {}


def test_a_killed_batch_loses_and_repeats_no_row(stack: Stack, tmp_path: Path) -> None:
    captions = paint(tmp_path, MANY)
    words = ("--model", "darkroom/palette", "--out", "jsonl", "--concurrency", "2")
    first = begin(stack, tmp_path, *words)
    eventually(lambda: (tmp_path / "captions.jsonl").exists() and len(rows(tmp_path)) >= 3)
    first.kill()
    first.communicate(timeout=60)
    before = len(rows(tmp_path))
    assert before < MANY

    summary = counted(stack, tmp_path, *words)
    assert (summary["skipped"], summary["done"]) == (before, MANY - before)
    assert len(rows(tmp_path)) == MANY
    assert {row["file"]: row["caption"] for row in rows(tmp_path)} == captions
    assert {row["model"] for row in rows(tmp_path)} == {"darkroom/palette"}


def test_a_sidecar_is_replaced_only_when_asked(stack: Stack, tmp_path: Path) -> None:
    paint(tmp_path, 2)
    mine = tmp_path / "000.txt"
    mine.write_text("my own words\n")
    words = ("--model", "darkroom/palette")
    assert counted(stack, tmp_path, *words)["skipped"] == 1
    assert mine.read_text() == "my own words\n"
    assert counted(stack, tmp_path, *words)["done"] == 0
    assert mine.read_text() == "my own words\n"
    assert counted(stack, tmp_path, *words, "--overwrite")["done"] == 2
    assert mine.read_text() == "all red\n"


def test_a_bad_file_fails_alone_and_is_tried_again(stack: Stack, tmp_path: Path) -> None:
    captions = paint(tmp_path, 3)
    good = (tmp_path / "001.jpg").read_bytes()
    (tmp_path / "001.jpg").write_bytes(good[: len(good) // 2])
    words = ("--model", "darkroom/palette", "--out", "jsonl")
    summary = counted(stack, tmp_path, *words, code=1)
    assert summary["done"] == 2
    assert [(one["file"], one["code"]) for one in summary["failed"]] == [
        ("001.jpg", "truncated_image")
    ]
    assert "001.jpg: " in batch(stack, tmp_path, *words, code=1)
    assert sum("error" in row for row in rows(tmp_path)) == 1

    (tmp_path / "001.jpg").write_bytes(good)
    assert counted(stack, tmp_path, *words)["skipped"] == 2
    assert {row["file"]: row["caption"] for row in rows(tmp_path)} == captions


def test_pictures_that_a_model_makes_stand_beside_theirs(stack: Stack, tmp_path: Path) -> None:
    paint(tmp_path, 2)
    words = ("--model", "darkroom/pencil-sketch")
    assert counted(stack, tmp_path, *words)["done"] == 2
    made = [path for path in tmp_path.iterdir() if ".pencil-sketch." in path.name]
    assert sorted(path.name.partition(".")[0] for path in made) == ["000", "001"]
    for path in made:
        with Image.open(path) as result, Image.open(tmp_path / f"{path.name[:3]}.jpg") as source:
            result.load()
            assert result.size == source.size
            assert f".{(result.format or '').lower().replace('jpeg', 'jpg')}" == path.suffix
    summary = counted(stack, tmp_path, *words)
    assert (summary["total"], summary["skipped"]) == (2, 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "no/such"), "Known models: darkroom/"),
        (("--model", "darkroom/pencil-sketch", "--out", "txt"), "use --out images"),
        (("--model", "darkroom/palette", "--out", "images"), "use --out txt or jsonl"),
    ],
)
def test_a_wish_that_cannot_be_granted_names_the_fix(
    stack: Stack, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    paint(tmp_path, 1)
    assert said in batch(stack, tmp_path, *words, code=2)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_without_pictures_names_the_fix(stack: Stack, tmp_path: Path) -> None:
    words = ("--model", "darkroom/palette")
    assert "put some there" in batch(stack, tmp_path, *words, code=2)
    assert "not a folder" in batch(stack, tmp_path / "none", *words, code=2)


def test_the_folder_script_prints_a_link_for_each_picture(stack: Stack, tmp_path: Path) -> None:
    captions = paint(tmp_path, 3)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    script = subprocess.run(
        [sys.executable, *LOCAL_BATCH, str(tmp_path), "--model", "darkroom/palette"],
        cwd=PROJECT,
        env={**os.environ, "DARKROOM_URL": stack.url},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert script.returncode == 1, script.stderr
    assert "bad.jpg: " in script.stderr
    links = dict(line.split("\t") for line in script.stdout.splitlines())
    assert {Path(file).name for file in links} == set(captions)

    for file, link in links.items():

        def look(link: str = link) -> httpx2.Response | None:
            with stack.client() as client:
                answer = client.get(link)
            return None if answer.status_code == 202 else answer

        assert eventually(look).text == captions[Path(file).name]
