"""The compose files in a checkout of their own, brought up by the real Docker Compose."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx2

from infra import compose
from infra.ports import free_ports
from infra.tools import DOCKER
from tests.e2e.stack import PROJECT

# What a user has who cloned the repository, as far as compose files and Dockerfiles name it.
CHECKOUT = (
    *("docker-compose-infra.yaml", "docker-compose.yaml", ".dockerignore", "apps.env", "Makefile"),
    *("model_names.txt", "pyproject.toml", "requirements.lock"),
    *("api", "cli", "common", "consumers", "infra", "models", "scaler"),
)
NOT_OURS = shutil.ignore_patterns("__pycache__", "secrets")


class Composed:
    """One project of Compose: a folder, a name, and the engine at `host`."""

    def __init__(self, folder: Path, host: str, name: str, images: dict[str, str]) -> None:
        self.folder, self.host, self.name = folder, host, name
        self.https, self.prometheus = free_ports(2)
        for path in CHECKOUT:
            source = PROJECT / path
            if source.is_dir():
                shutil.copytree(source, folder / path, ignore=NOT_OURS)
            else:
                shutil.copy(source, folder / path)
        plain = {name: value for name, value in os.environ.items() if "DARKROOM" not in name}
        self.environment = {
            **plain,
            **images,
            "DOCKER_HOST": host,
            "DOCKER_CONFIG": str(compose.install()),
            "DOCKER_BUILDKIT": "0",
            "COMPOSE_PROJECT_NAME": name,
            "DARKROOM_HTTPS_PORT": str(self.https),
            "DARKROOM_PUBLIC_URL": self.url,
            "PROMETHEUS_PORT": str(self.prometheus),
            **{
                f"{ours}_IMAGE": f"darkroom-test/{ours.lower()}"
                for ours in ("API", "CONSUMER", "SCALER")
            },
        }

    @property
    def url(self) -> str:
        return f"https://localhost:{self.https}"

    @property
    def certificate(self) -> Path:
        return self.folder / "infra" / "secrets" / "tls" / "certificate.pem"

    def setting(self, name: str) -> str:
        """What `make secrets` wrote."""
        lines = (self.folder / ".env").read_text(encoding="utf-8").splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith(f"{name}="))

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{words}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done

    def compose(self, *words: str, check: bool = True) -> str:
        return self.run(str(DOCKER.path()), "compose", *words, check=check).stdout

    def docker(self, *words: str, check: bool = True) -> str:
        return self.run(str(DOCKER.path()), *words, check=check).stdout

    def services(self) -> list[str]:
        """All but Grafana, for which there is no stand-in."""
        return sorted(set(self.compose("config", "--services").split()) - {"grafana"})

    def containers(self, *filters: str) -> list[dict[str, Any]]:
        """What `docker inspect` says of each of the project's, those that ended too."""
        wanted = [f"--filter=label=com.docker.compose.project={self.name}"]
        ids = self.docker("ps", "-aq", *wanted, *(f"--filter={one}" for one in filters)).split()
        # One that ended just now may be gone before it is inspected; the rest is told of.
        told = self.docker("inspect", *ids, check=False) if ids else "[]"
        found: list[dict[str, Any]] = json.loads(told)
        return found

    def consumers(self) -> list[dict[str, Any]]:
        """Those that the scaler started and that run."""
        return self.containers("label=darkroom.worker", "status=running")

    def traces(self) -> list[str]:
        """All that Compose and the scaler made in the engine and that is still there."""
        label = f"--filter=label=com.docker.compose.project={self.name}"
        volumes = self.docker("volume", "ls", "-q", label).split()
        networks = self.docker("network", "ls", "-q", label).split()
        return [*(one["Name"] for one in self.containers()), *volumes, *networks]

    def client(self) -> httpx2.Client:
        trust = ssl.create_default_context(cafile=self.certificate)
        headers = {"Authorization": f"Bearer {self.setting('DARKROOM_ADMIN_KEY')}"}
        return httpx2.Client(base_url=self.url, verify=trust, headers=headers, timeout=90)
