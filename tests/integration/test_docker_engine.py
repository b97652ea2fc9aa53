"""A Docker Engine of our own: shared while it is used, and gone with its containers after."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from infra.docker_engine import SYSTEM, answers

# In a network of its own, so that the two engines that may run then do not share a bridge.
ALONE = ["unshare", "--net", sys.executable, "-c"]

TWO_USERS = """
import os, subprocess, time
import psutil
from infra.docker_engine import DockerEngine

def docker(*arguments):
    command = ["docker", "--host", engine.host, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, input="").stdout

def ours():
    folder = os.environ["XDG_CACHE_HOME"]
    found = psutil.process_iter(["cmdline"])
    return [p for p in found if any(folder in one for one in p.info["cmdline"] or [])]

other = DockerEngine()
with DockerEngine() as engine:
    other.start()
assert other.host
engine = other
docker("import", "-", "empty")
docker("create", "--name", "left", "empty", "/none")
other.stop()
deadline = time.monotonic() + 60
while (left := ours()) and time.monotonic() < deadline:
    time.sleep(0.1)
assert not left, left
with DockerEngine() as engine:
    print(docker("ps", "--all", "--quiet"), docker("images", "--format", "{{.Repository}}"))
while ours() and time.monotonic() < deadline:
    time.sleep(0.1)
"""


@pytest.mark.skipif(answers(SYSTEM), reason="this machine's own engine is used")
def test_ours_stays_while_anyone_uses_it_and_keeps_only_its_images() -> None:
    with tempfile.TemporaryDirectory(prefix="darkroom-engine-") as folder:
        done = subprocess.run(
            [*ALONE, TWO_USERS],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "XDG_CACHE_HOME": folder},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    assert (done.stdout.split(), done.stderr) == (["empty"], "")


def test_an_engineanswers(docker_host: str) -> None:
    assert answers(docker_host)
