from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.job_log import JobLog, open_job_log
from scaler.launchers import Launcher
from tests.contract.launcher.rig import ECHO, OTHER, DockerRig, ProcessRig, Rig


@pytest.fixture
async def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[JobLog]:
    """Where consumers that are started here look for work, too."""
    (tmp_path / "model_names.txt").write_text(f"{ECHO} task=echo\n{OTHER} task=echo\n")
    url = f"sqlite:///{tmp_path}/log.sqlite"
    monkeypatch.setenv("DARKROOM_MODEL_NAMES", str(tmp_path / "model_names.txt"))
    monkeypatch.setenv("DARKROOM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DARKROOM_OBJECT_STORE_URL", f"file://{tmp_path}/objects")
    monkeypatch.setenv("DARKROOM_JOB_LOG_URL", url)
    opened = await open_job_log(url, partitions=4)
    yield opened
    await opened.close()


def in_docker(host: str, folder: Path) -> DockerRig:
    return DockerRig(host, f"t{secrets.token_hex(4)}", folder)


@pytest.fixture(params=["process", "docker"])
async def rig(request: pytest.FixtureRequest, log: JobLog, tmp_path: Path) -> AsyncIterator[Rig]:
    rig: Rig = ProcessRig()
    if request.param == "docker":
        rig = docker = in_docker(request.getfixturevalue("docker_host"), tmp_path)
        await docker.make_template()
    yield rig
    await rig.clear()


@pytest.fixture
async def docker_rig(docker_host: str, log: JobLog, tmp_path: Path) -> AsyncIterator[DockerRig]:
    """Without a template."""
    rig = in_docker(docker_host, tmp_path)
    yield rig
    await rig.clear()


@pytest.fixture
async def launcher(rig: Rig) -> AsyncIterator[Launcher]:
    opened = rig.launcher()
    yield opened
    await opened.close()
