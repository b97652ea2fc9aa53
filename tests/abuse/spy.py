"""A user's own model that looks for a canary wherever a process of this user may look."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from PIL import Image

from consumers.custom_infer import CustomModel

CANARY = "c4nary-of-a-passw0rd"
PLACES = ("environ", "maps", "fd", "mem")


def seen(process: Path, place: str) -> bytes:
    """What the place shows, b"" where it shows nothing. Raises OSError where it may not be seen."""
    if place == "fd":
        return b" ".join(os.readlink(each).encode() for each in (process / place).iterdir())
    with (process / place).open("rb") as file:
        return b"opened" if place == "mem" else file.read()


def spied() -> list[str]:
    """Each place of another process, or of this one, that shows something of theirs."""
    found = [f"own {name}" for name, value in os.environ.items() if CANARY in value]
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        for place in PLACES:
            try:
                if seen(process, place) and not mine(process):
                    found.append(f"{place} of {(process / 'comm').read_text().strip()}")
                if CANARY.encode() in seen(process, place):
                    found.append(f"canary in {place}")
            except OSError:
                continue
    by_child = f"cat /proc/{os.getppid()}/environ"
    told = subprocess.run(["sh", "-c", by_child], capture_output=True, check=False).stdout
    if CANARY.encode() in told:
        found.append("canary for a child")
    try:
        os.kill(os.getppid(), 0)
        found.append("signals to the parent")
    except PermissionError:
        pass
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            if CANARY in os.readlink(f"/proc/self/fd/{descriptor}"):
                found.append("an open file")
        except OSError:
            continue
    return sorted(set(found))


def mine(process: Path) -> bool:
    """Whether it is a descendant of this process."""
    try:
        parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return False
    return parent == os.getpid()


class Spy(CustomModel):
    """Answers with what it could see."""

    def load(self) -> None: ...

    def infer(self, image: Image.Image) -> str:  # noqa: ARG002
        return "; ".join(spied()) or "nothing"
