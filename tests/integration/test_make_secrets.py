"""`make secrets` in a folder that has nothing yet, and again."""

from __future__ import annotations

import os
import re
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.access.keys import id_of
from infra.make_secrets import make_secrets, read_env

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "infra").mkdir()
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(path))
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield tmp_path


def test_everything_that_the_compose_files_ask_for_is_made(project: Path) -> None:
    make_secrets(project, "localhost")
    made = read_env(project / ".env")
    for file in ("docker-compose-infra.yaml", "docker-compose.yaml"):
        asked = re.findall(r"\$\{(\w+):\?", (PROJECT / file).read_text())
        assert set(asked) <= set(made)
    assert id_of(made["DARKROOM_ADMIN_KEY"])
    assert id_of(made["DARKROOM_MONITOR_KEY"])
    key = (project / "infra/secrets/prometheus/monitor_key").read_text()
    assert key == made["DARKROOM_MONITOR_KEY"]
    assert made["DOCKER_GID"] == str(os.getgid())


def test_again_it_keeps_what_is_there_and_adds_what_is_missing(project: Path) -> None:
    (project / ".env").write_text("POSTGRES_PASSWORD=mine\n# a remark")
    make_secrets(project, "localhost")
    first = (project / ".env").read_text()
    certificate = (project / "infra/secrets/tls/certificate.pem").read_bytes()
    assert first.startswith("POSTGRES_PASSWORD=mine\n# a remark\n")
    assert read_env(project / ".env")["POSTGRES_PASSWORD"] == "mine"
    assert make_secrets(project, "other.example") == []
    assert (project / ".env").read_text() == first
    assert (project / "infra/secrets/tls/certificate.pem").read_bytes() == certificate


def test_two_folders_get_different_secrets_which_only_their_owner_reads(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "infra").mkdir()
    for folder in (project, other):
        make_secrets(folder, "localhost")
        assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
        assert stat.S_IMODE((folder / "infra/secrets").stat().st_mode) == 0o700
    one, two = (read_env(folder / ".env") for folder in (project, other))
    same = {name for name in one if one[name] == two[name]}
    assert same == {
        "COMPOSE_FILE",
        "COMPOSE_PROFILES",
        "DARKROOM_DEVICES",
        "DARKROOM_PUBLIC_URL",
        "DOCKER_GID",
        "DOCKER_SOCKET",
    }


def test_the_certificate_is_of_the_name_that_was_given(project: Path) -> None:
    make_secrets(project, "darkroom.example.org")
    file = project / "infra/secrets/tls/certificate.pem"
    shown = subprocess.run(
        ["openssl", "x509", "-in", file, "-noout", "-ext", "subjectAltName"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "DNS:darkroom.example.org, DNS:localhost, IP Address:127.0.0.1" in shown
    ssl.create_default_context().load_verify_locations(file)
    assert read_env(project / ".env")["DARKROOM_PUBLIC_URL"] == "https://darkroom.example.org:8443"


def test_without_docker_and_our_packages_it_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    (tmp_path / "common").symlink_to(PROJECT / "common")
    for file in ("__init__.py", "make_secrets.py"):
        (tmp_path / "infra" / file).write_bytes((PROJECT / "infra" / file).read_bytes())
    done = subprocess.run(
        [sys.executable, "-S", "-m", "infra.make_secrets"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "DOCKER_HOST": "unix:///nowhere/docker.sock"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "/nowhere/docker.sock is not there: install or start it" in done.stderr


def test_a_folder_that_was_there_before_is_closed_to_others(project: Path) -> None:
    folder = project / "infra/secrets"
    (folder / "tls").mkdir(parents=True)
    folder.chmod(0o755)
    make_secrets(project, "localhost")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_gpus_of_this_machine_are_handed_to_the_scaler(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = "\n".join(f"GPU {n}: NVIDIA H200 (UUID: GPU-{n}{n}-ab)" for n in range(2))
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<END\n{listing}\nEND\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    make_secrets(project, "localhost")
    made = read_env(project / ".env")
    assert (made["COMPOSE_PROFILES"], made["DARKROOM_DEVICES"]) == ("gpu", "GPU-00-ab,GPU-11-ab")
