"""This machine: its folder, its disk, its packages, and who may reach it."""

from __future__ import annotations

import platform
import shutil
import tomllib
import uuid
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from cli.diagnosis.finding import Finding, fail, ok
from common.settings import PROJECT, Settings

ENOUGH_BYTES = 1024**3  # free on the data folder's disk


def data_folder(folder: Path, *, enough_bytes: int = ENOUGH_BYTES) -> Iterator[Finding]:
    """Whether the data folder can be written to, and has room."""
    part, folder = "data folder", folder.resolve()
    if not folder.exists():
        yield fail(part, f"{folder} is not there", "`darkroom up` makes it; or restore a backup")
        return
    probe = folder / f"doctor-{uuid.uuid4().hex}"
    try:
        probe.write_bytes(b"darkroom doctor")
        probe.unlink()
    except OSError as error:
        yield fail(
            part,
            f"{folder} cannot be written to: {error.strerror}",
            "make it a folder that this user may write to, or set DARKROOM_DATA_DIR to another",
        )
        return
    yield ok(part, f"{folder} can be written to")
    free = shutil.disk_usage(folder).free
    says = f"{free / 1024**3:.1f} GiB free"
    if free < enough_bytes:
        fix = "free some space: delete old results, or move DARKROOM_DATA_DIR to a larger disk"
        yield fail("disk", says, fix)
    else:
        yield ok("disk", says)


def packages() -> Iterator[Finding]:
    """Whether what pyproject.toml asks for is installed, in a version that it allows."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    groups = project["optional-dependencies"]
    needed = [Requirement(line) for line in (*project["dependencies"], *groups["api"])]
    wrong = [reason for one in needed if (reason := _wrong(one))]
    if wrong:
        yield fail("packages", "; ".join(wrong), "`make run` installs what requirements.lock says")
    else:
        says = f"Python {platform.python_version()}, {len(needed)} packages as pyproject.toml asks"
        yield ok("packages", says)


def access(settings: Settings) -> Iterator[Finding]:
    """Who may reach the API, and with what."""
    where = f"{settings.host}:{settings.port}"
    if settings.auth_on:
        yield ok("access", f"{where}, with API keys")
    elif settings.on_loopback:
        yield ok("access", f"{where}, this machine alone, without keys")
    else:
        yield fail(
            "access",
            f"{where} can be reached from outside without keys: the API refuses to start",
            "set DARKROOM_AUTH=on, or DARKROOM_HOST=127.0.0.1",
        )


def _wrong(needed: Requirement) -> str | None:
    try:
        installed = version(needed.name)
    except PackageNotFoundError:
        return f"{needed.name} is not installed"
    if needed.specifier.contains(installed, prereleases=True):
        return None
    return f"{needed.name} is {installed}, and {needed.specifier} is needed"
