"""The README's commands do what it says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.e2e.stack import PROJECT, Stack

README = (PROJECT / "README.md").read_text()


def commands() -> list[str]:
    """Each line of the shell blocks, without its remark."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]


def test_every_command_is_one_that_a_test_runs() -> None:
    known = (
        r"make (run|test|secrets)",  # the last, and the next, in tests/deployment
        r"docker compose up --detach",
        r"curl -F image=@images/\S+ .*",
        r"\.venv/bin/darkroom batch images .*",
        r"\.venv/bin/python -m (api serve|api record|api notify|scaler|consumers MODEL)",
    )
    for command in commands():
        assert any(re.fullmatch(pattern, command) for pattern in known), command


@pytest.mark.parametrize("target", [*re.findall(r"^make (\w+)$", README, re.MULTILINE), "servers"])
def test_the_makefile_has_the_target(target: str) -> None:
    plan = subprocess.run(
        ["make", "--dry-run", target], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert "python" in plan.stdout or "darkroom" in plan.stdout


def test_the_curl_line_brings_a_caption(stack: Stack) -> None:
    (command,) = [line for line in commands() if line.startswith("curl")]
    words = shlex.split(command.replace("http://127.0.0.1:8000", stack.url))
    for _ in range(2):  # a busy machine may take longer than a minute to load the model
        reply = subprocess.run([*words, "--silent"], cwd=PROJECT, capture_output=True, check=True)
        job = json.loads(reply.stdout)
        if job["status"] == "succeeded":
            break
    assert job["status"] == "succeeded", job
    assert re.fullmatch(r"an? \w+ \w+ on a (white|gray) background", job["output"])


def test_the_batch_line_captions_the_sample_images(stack: Stack, tmp_path: Path) -> None:
    (command,) = [line for line in commands() if "batch" in line]
    (tmp_path / "images").mkdir()
    for image in (PROJECT / "images").iterdir():
        if image.suffix in (".jpg", ".png"):
            (tmp_path / "images" / image.name).write_bytes(image.read_bytes())
    words = shlex.split(command.replace(".venv/bin", str(PROJECT / ".venv/bin"), 1))
    environment = stack.environment | {"DARKROOM_URL": stack.url}
    subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True)
    captions = [file.read_text() for file in sorted((tmp_path / "images").glob("*.txt"))]
    assert len(captions) == 3
    assert all(" background" in caption for caption in captions)
