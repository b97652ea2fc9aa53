"""Docker Compose 2, built from source by Go."""

import hashlib
import os
import shutil
from pathlib import Path

from infra.cache import build_once, cached
from infra.process import Command, run_tool
from infra.tools import GO, Tool, require_go_toolchains

MODULE = Path(__file__).parent / "compose_plugin"
PACKAGE = "github.com/docker/compose/v2/cmd"
VERSION = "v2.40.3"


def _build_name() -> str:
    digest = hashlib.sha256((MODULE / "go.sum").read_bytes()).hexdigest()
    return f"compose-{VERSION}-{digest[:12]}"


def tools() -> list[Tool]:
    """The programs that an install on this machine still needs."""
    return [] if cached(_build_name()) else [GO]


def install() -> Path:
    """The folder that as DOCKER_CONFIG brings `docker compose`; minutes the first time."""
    return build_once(_build_name(), _build)


def _build(folder: Path, log: Path) -> None:
    require_go_toolchains()
    module = folder / "module"
    shutil.copytree(MODULE, module)
    env = {**os.environ, "GOTOOLCHAIN": "auto", "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    version = f"-s -w -X github.com/docker/compose/v2/internal.Version={VERSION}"
    plugin = folder / "cli-plugins" / "docker-compose"
    command: Command = [GO.path(), "build", "-trimpath", "-ldflags", version, "-o", plugin, PACKAGE]
    run_tool("the build of Docker Compose", command, log=log, env=env, cwd=module)
    shutil.rmtree(module)
