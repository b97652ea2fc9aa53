"""A Debian with Python as an image, for machines where no image can be pulled."""

import os
import subprocess
from pathlib import Path

from infra.cache import build_once, cached
from infra.errors import MissingTools
from infra.process import Command, run_tool
from infra.tools import DEBOOTSTRAP, DOCKER, Tool

SUITE = "bookworm"
PACKAGES = "ca-certificates,python3,python3-venv"
MIRROR = "http://deb.debian.org/debian"
BUILD = f"debian-{SUITE}-1"  # another number where what is built changes
IMAGE = f"darkroom-stand-in/{BUILD}"
# What this machine trusts, its containers trust too, when they fetch packages.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
TRUST = f"ENV SSL_CERT_FILE={CERTIFICATES} PIP_CERT={CERTIFICATES}"


def tools() -> list[Tool]:
    """The programs that an install on this machine still needs."""
    return [] if cached(BUILD) else [DEBOOTSTRAP]


def install() -> Path:
    """The folder with base.tar; a few minutes the first time, and MissingTools if not for root."""
    if cached(BUILD) is None and os.geteuid() != 0:
        raise MissingTools(
            "only root can make a Debian: name images of your own, PYTHON_IMAGE first"
        )
    return build_once(BUILD, _build)


def _build(folder: Path, log: Path) -> None:
    root = folder / "root"
    options = ["--variant=minbase", f"--include={PACKAGES}"]
    bootstrap: Command = [DEBOOTSTRAP.path(), *options, SUITE, root, MIRROR]
    run_tool("debootstrap", bootstrap, log=log)
    (root / CERTIFICATES.relative_to("/")).write_bytes(CERTIFICATES.read_bytes())
    tar: Command = ["tar", "--directory", root, "--create", "--file", folder / "base.tar"]
    run_tool("tar", [*tar, "--exclude=./var/cache/apt/archives/*.deb", "."], log=log)
    run_tool("rm", ["rm", "-r", root], log=log)


def base_image(host: str) -> str:
    """The image in the engine at `host`, its name; imported if it is not there."""
    docker = [str(DOCKER.path()), "--host", host]
    there = subprocess.run([*docker, "image", "inspect", IMAGE], capture_output=True, check=False)
    if there.returncode != 0:
        tar = install() / "base.tar"
        subprocess.run(
            [*docker, "import", "--change", TRUST, tar, IMAGE], check=True, capture_output=True
        )
    return IMAGE
