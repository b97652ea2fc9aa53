"""Prometheus and its promtool, from Debian's package."""

import http.client
import os
import shutil
import subprocess
from pathlib import Path

from infra.cache import build_once, cached, locked
from infra.errors import MissingTools, ToolFailed
from infra.process import Command, run_tool
from infra.server import CONNECT_TIMEOUT_S, HOST, Server
from infra.tools import PROMETHEUS, Tool

BUILD = "prometheus"
PROGRAMS = "usr/bin"  # in the unpacked package


def _on_path() -> Path | None:
    """A folder that has both programs."""
    found = PROMETHEUS.find()
    return found.parent if found is not None and (found.parent / "promtool").exists() else None


def _unpack(folder: Path, log: Path) -> None:
    """Unpacked instead of installed: an installed package would start a service of its own."""
    try:
        if os.geteuid() == 0:
            with locked("apt-get"):
                run_tool("apt-get update", ["apt-get", "update"], log=log)
        download: Command = ["apt-get", "download", PROMETHEUS.package]
        run_tool("the download of Prometheus", download, log=log, cwd=folder)
    except ToolFailed as error:
        line = "sudo apt-get update"
        raise MissingTools(f"{error}\nan administrator must run: {line}", line) from error
    (package,) = folder.glob("*.deb")
    run_tool("the unpacking of Prometheus", ["dpkg-deb", "-x", package, folder], log=log)
    package.unlink()


class Prometheus(Server):
    """It scrapes by the configuration at `config`, and keeps what it scraped in its folder."""

    name = "prometheus"

    def __init__(self, directory: Path, port: int, config: Path) -> None:
        super().__init__(directory, port)
        self.config = config

    @staticmethod
    def tools() -> list[Tool]:
        there = _on_path() or cached(BUILD) or shutil.which("apt-get")
        return [] if there else [PROMETHEUS]

    @staticmethod
    def install() -> Path:
        return _on_path() or build_once(BUILD, _unpack) / PROGRAMS

    def _prepare(self) -> None:
        """Prometheus lays out an empty folder itself."""

    def _command(self) -> Command:
        return [
            self.install() / "prometheus",
            f"--config.file={self.config}",
            f"--storage.tsdb.path={self.data}",
            f"--web.listen-address={self.address}",
        ]

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=CONNECT_TIMEOUT_S)
        try:
            connection.request("GET", "/-/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def promtool(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run it; what it says is in `stdout` and `stderr`."""
    command: Command = [Prometheus.install() / "promtool", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)
