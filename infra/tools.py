"""The programs that servers are built from or run by, and how a machine gets them."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from infra.cache import cache_root, locked
from infra.errors import MissingTools
from infra.process import run_tool

DEBIAN_POSTGRES = Path("/usr/lib/postgresql")
# The first Go that fetches a newer one by itself where a module asks for it.
GO_MINIMUM_MINOR = 21


def _on_path(program: str) -> Path | None:
    found = shutil.which(program)
    return Path(found).resolve() if found else None


def _newest_postgres() -> Path | None:
    """Debian keeps the server's programs off PATH, a folder for each major version."""
    found = list(DEBIAN_POSTGRES.glob("*/bin/postgres"))
    if found:
        return max(found, key=lambda path: int(path.parent.parent.name))
    return _on_path("postgres")


@dataclass(frozen=True)
class Tool:
    """A program, the Debian package that brings it, and how it is found."""

    package: str
    find: Callable[[], Path | None]

    def path(self) -> Path:
        """Where the program is; MissingTools if it is not installed."""
        found = self.find()
        if found is None:
            raise _missing([self])
        return found


JAVA = Tool("openjdk-17-jre-headless", lambda: _on_path("java"))
MAVEN = Tool("maven", lambda: _on_path("mvn"))
DEBOOTSTRAP = Tool("debootstrap", lambda: _on_path("debootstrap"))
GO = Tool("golang", lambda: _on_path("go"))
POSTGRES = Tool("postgresql", _newest_postgres)
NGINX = Tool("nginx-light", lambda: _on_path("nginx"))
DOCKERD = Tool("docker.io", lambda: _on_path("dockerd"))
DOCKER = Tool("docker.io", lambda: _on_path("docker"))
PROMETHEUS = Tool("prometheus", lambda: _on_path("prometheus"))


def _packages(tools: list[Tool]) -> list[str]:
    return list(dict.fromkeys(tool.package for tool in tools))


def _missing(tools: list[Tool]) -> MissingTools:
    packages = " ".join(_packages(tools))
    line = f"sudo apt-get update && sudo apt-get install -y {packages}"
    return MissingTools(f"programs are missing; an administrator must run: {line}", line)


def require(tools: Iterable[Tool]) -> None:
    """See that the tools are installed.

    Root on a Debian machine gets them installed; anyone else gets MissingTools, which names all
    the missing packages in one line. ToolFailed if apt-get fails.
    """
    missing = [tool for tool in tools if tool.find() is None]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise _missing(missing)
    log = cache_root() / "apt-get.log"
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with locked("apt-get"):
        run_tool("apt-get update", ["apt-get", "update"], log=log, env=env)
        install = ["apt-get", "install", "-y", *_packages(missing)]
        run_tool("apt-get install", install, log=log, env=env)


def require_java(minimum: int) -> None:
    """MissingTools unless Java's major version is at least `minimum`."""
    text = _output([JAVA.path(), "-version"])
    found = re.search(r'version "(\d+)', text)
    if found is None or int(found.group(1)) < minimum:
        line = f"sudo apt-get update && sudo apt-get install -y {JAVA.package}"
        raise MissingTools(f"Java {minimum} or newer is needed; run: {line}", line)


def require_go_toolchains() -> None:
    """MissingTools unless Go can fetch a newer Go by itself, which it can from 1.21 on."""
    text = _output([GO.path(), "version"])
    found = re.search(r"go1\.(\d+)", text)
    if found is None or int(found.group(1)) < GO_MINIMUM_MINOR:
        raise MissingTools(
            f"this Go cannot build MinIO: {text.strip()}. Go 1.{GO_MINIMUM_MINOR} or newer can, "
            f"for it fetches the version that MinIO asks for; install one from the Go project or "
            f"from Debian's backports and put it first on PATH"
        )


def _output(command: list[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr
