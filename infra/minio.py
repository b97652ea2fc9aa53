"""MinIO, built from source by Go."""

import http.client
import os
import ssl
from pathlib import Path

from infra.cache import build_once, cached
from infra.process import Command, run_tool
from infra.server import CONNECT_TIMEOUT_S, HOST, Server
from infra.tools import GO, Tool, require_go_toolchains

MODULE = "github.com/minio/minio"
# The last commit before the project was archived, which is what `@latest` means; pinned so that
# every machine tests against the same server.
VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
BUILD = f"minio-{VERSION}"


def _build(folder: Path, log: Path) -> None:
    require_go_toolchains()
    env = {**os.environ, "GOBIN": str(folder), "GOTOOLCHAIN": "auto", "CGO_ENABLED": "0"}
    command: Command = [GO.path(), "install", f"{MODULE}@{VERSION}"]
    run_tool("the MinIO build", command, log=log, env=env, cwd=folder)


class Minio(Server):
    """A single-drive MinIO. It holds no bucket at first."""

    name = "minio"

    def __init__(
        self,
        directory: Path,
        port: int,
        access_key: str,
        secret_key: str,
        certificates: Path | None = None,
    ) -> None:
        """`certificates` is a folder with public.crt and private.key: it then speaks TLS."""
        super().__init__(directory, port)
        self.certificates = certificates
        self.access_key = access_key
        self.secret_key = secret_key

    @staticmethod
    def tools() -> list[Tool]:
        return [] if cached(BUILD) else [GO]

    @staticmethod
    def install() -> Path:
        return build_once(BUILD, _build)

    def _prepare(self) -> None:
        """MinIO lays out an empty folder itself."""

    def _command(self) -> Command:
        command: Command = [self.install() / "minio", "server", self.data]
        if self.certificates is not None:
            command = [*command, "--certs-dir", self.certificates]
        return [*command, "--address", self.address]

    def _environment(self) -> dict[str, str]:
        return {
            **super()._environment(),
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }

    def _answers(self) -> bool:
        if self.certificates is None:
            connection = http.client.HTTPConnection(HOST, self.port, timeout=CONNECT_TIMEOUT_S)
        else:
            trusting = ssl.create_default_context(cafile=self.certificates / "public.crt")
            trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            connection = http.client.HTTPSConnection(
                HOST, self.port, timeout=CONNECT_TIMEOUT_S, context=trusting
            )
        try:
            connection.request("GET", "/minio/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
