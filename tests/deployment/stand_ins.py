"""Images in place of the public ones, which cannot be pulled where the tests run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from infra.debian import base_image
from infra.kafka import Kafka
from infra.minio import Minio
from infra.tools import DOCKER

HERE = Path(__file__).parent / "stand_ins"
SERVERS = ("kafka", "minio", "postgres", "nginx", "prometheus")


def build(host: str, folder: Path) -> dict[str, str]:
    """The images in the engine at `host`, by the settings that name them.

    `folder` is an empty one for what they are built from. Where the caller's environment names
    images for all, those are used.
    """
    settings = ["PYTHON_IMAGE", *(f"{name.upper()}_IMAGE" for name in SERVERS)]
    if all(name in os.environ for name in settings):
        return {name: os.environ[name] for name in settings}
    base = base_image(host)
    context = folder / "context"
    shutil.copytree(HERE, context)
    shutil.copytree(Kafka.install() / "jars", context / "jars")
    shutil.copy(Minio.install() / "minio", context / "minio")
    images = {"PYTHON_IMAGE": base}
    for name in SERVERS:
        tag = f"darkroom-stand-in/{name}"
        options = ["--quiet", "--target", name, "--tag", tag, "--build-arg", f"BASE={base}"]
        subprocess.run(
            [DOCKER.path(), "--host", host, "build", *options, context],
            env={**os.environ, "DOCKER_BUILDKIT": "0"},
            check=True,
            capture_output=True,
        )
        images[f"{name.upper()}_IMAGE"] = tag
    return images
