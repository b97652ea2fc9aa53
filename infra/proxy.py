"""nginx with the configuration of infra/nginx, on loopback."""

import os
from collections.abc import Mapping
from pathlib import Path

from infra.process import Command
from infra.server import Server, accepts_connections
from infra.tools import NGINX, Tool

CONFIGURATION = Path(__file__).parent / "nginx" / "nginx.conf"


class Nginx(Server):
    """The configuration as it stands, but for `changes`: texts in it, and what they become.

    Ports, paths and names of other servers are Docker's in it, and each change must find its text.
    """

    name = "nginx"

    def __init__(self, directory: Path, port: int, changes: Mapping[str, str]) -> None:
        super().__init__(directory, port)
        self.changes = {"8443": str(port), "/tmp/": f"{directory}/", **changes}

    @staticmethod
    def tools() -> list[Tool]:
        return [NGINX]

    @staticmethod
    def install() -> Path:
        return NGINX.path().parent

    def _prepare(self) -> None:
        text = CONFIGURATION.read_text(encoding="utf-8")
        for old, new in self.changes.items():
            if old not in text:
                raise ValueError(f"{old!r} is not in {CONFIGURATION}")
            text = text.replace(old, new)
        if os.geteuid() == 0:  # else its workers would be another user, without our folders
            text = f"user root;\n{text}"
        (self.directory / "nginx.conf").write_text(text, encoding="utf-8")

    def _command(self) -> Command:
        configuration = self.directory / "nginx.conf"
        return [NGINX.path(), "-c", configuration, "-g", "daemon off;"]

    def _answers(self) -> bool:
        return accepts_connections(self.port)
