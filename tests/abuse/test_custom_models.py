"""A user's own model looks for the servers' passwords, in a real stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.abuse import spy
from tests.e2e.stack import PROJECT, embedded
from tests.e2e.test_journey import picture
from tests.machine import lacking

CREDENTIALS = ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "HF_TOKEN", "PGPASSWORD", "MY_API_KEY")
NOBODY = 65534
# It becomes nobody once it has read its program, which nobody may not; its memory is marked as that
# of one that changed its user, and 1 is what an exec by nobody would have made of it.
HOLDER = f"""
import ctypes, os, sys, time
from common.processes import PR_SET_DUMPABLE, hide_secrets
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
if sys.argv[1]:
    hide_secrets()
print("on", flush=True)
time.sleep(60)
"""


@pytest.fixture
def linux() -> None:
    if sys.platform != "linux":
        lacking("only Linux keeps processes apart")


@pytest.fixture
def root(linux: None) -> None:
    if os.geteuid() != 0:
        lacking("only root can be somebody else")


@pytest.mark.usefixtures("linux")
def test_a_custom_model_finds_no_credentials(tmp_path: Path) -> None:
    names = tmp_path / "model_names.txt"
    names.write_text(f"me/spy task=custom path={spy.__file__} makes=text\n")
    stack = embedded(
        tmp_path,
        DARKROOM_MODEL_NAMES=str(names),
        DARKROOM_URL_ALLOWLIST=f"{spy.CANARY}.example",
        **dict.fromkeys(CREDENTIALS, spy.CANARY),
    )
    stack.start()
    try:
        ended = stack.ended(stack.submit(picture(40)[0], "me/spy")["id"])
    finally:
        stack.stop()

    assert ended["output"] == "nothing"
    assert "no Landlock" not in stack.output.read_text()


@pytest.mark.usefixtures("linux")
def test_the_same_search_finds_them_where_nothing_holds_it_back() -> None:
    program = "from tests.abuse.spy import spied; import json; print(json.dumps(spied()))"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])"
    told = subprocess.run(
        [sys.executable, "-c", parent],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "HF_TOKEN": spy.CANARY},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    for found in ("own HF_TOKEN", "canary in environ", "canary for a child", "signals to"):
        assert found in told


@pytest.mark.usefixtures("root")
def test_where_there_is_no_landlock_another_process_of_the_user_reads_nothing_either() -> None:
    def reads(hidden: bool) -> bool:
        """Whether one process of nobody's reads the environment of another."""
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER, "hide" if hidden else ""],
            env={"PYTHONPATH": str(PROJECT), "HF_TOKEN": spy.CANARY},
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"on\n"
            reader = subprocess.run(
                ["cat", f"/proc/{holder.pid}/environ"],
                capture_output=True,
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                check=False,
            )
            holder.kill()
        return spy.CANARY.encode() in reader.stdout

    assert reads(hidden=False)
    assert not reads(hidden=True)
