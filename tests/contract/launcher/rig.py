"""Launchers of either kind over real consumers, which share one embedded job log."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tarfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
from aiodocker import Docker

from scaler.launchers import Launched, Launcher, ProcessLauncher
from scaler.launchers.docker import DockerLauncher

PROJECT = Path(__file__).parents[3]
ECHO, OTHER = "darkroom/echo", "darkroom/other"
PATIENCE = 120.0  # seconds, of a test that waits
GRACE = 20.0
EMPTY = "darkroom-test-empty"
SET_IMMUTABLE = """
import fcntl, os, struct, sys
GETFLAGS, SETFLAGS, IMMUTABLE = 0x80086601, 0x40086602, 0x10  # FS_... of linux/fs.h
folder, wanted = os.open(sys.argv[1], os.O_RDONLY), int(sys.argv[2])
[flags] = struct.unpack("l", fcntl.ioctl(folder, GETFLAGS, bytes(8)))
flags = flags | IMMUTABLE if wanted else flags & ~IMMUTABLE
fcntl.ioctl(folder, SETFLAGS, struct.pack("l", flags))
"""
TEMPLATE_LABELS = {
    "com.docker.compose.service": "consumer",
    "com.docker.compose.container-number": "1",
    "darkroom.template": "consumer",
}


class Rig(ABC):
    """Makes launchers, as scalers that follow one another do, and looks at what they started."""

    @abstractmethod
    def launcher(self, models: Collection[str] = (ECHO, OTHER)) -> Launcher: ...

    @abstractmethod
    async def workers(self) -> set[str]:
        """The names of the consumers that live, whoever says so."""

    @abstractmethod
    async def kill(self, worker: str) -> None:
        """SIGKILL, as a machine without memory does."""

    @abstractmethod
    async def clear(self) -> None: ...


class ProcessRig(Rig):
    """This process's children."""

    def launcher(self, models: Collection[str] = (ECHO, OTHER)) -> Launcher:
        return ProcessLauncher(models, grace_seconds=GRACE)

    async def workers(self) -> set[str]:
        return set(self.processes())

    def processes(self) -> dict[str, psutil.Process]:
        found = {}
        for child in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):  # it ended while it was looked at
                if child.status() != psutil.STATUS_ZOMBIE:
                    worker = child.environ().get("DARKROOM_WORKER")
                    if worker:
                        found[worker] = child
        return found

    async def kill(self, worker: str) -> None:
        self.processes()[worker].send_signal(signal.SIGKILL)

    async def clear(self) -> None:
        for process in self.processes().values():
            process.kill()


class DockerRig(Rig):
    """Containers of a Compose project of the test's own, from an image that holds nothing.

    This machine's programs, Python packages and sources are mounted into it, so that what runs in
    it is the real consumer.
    """

    def __init__(self, host: str, project: str, folder: Path) -> None:
        self.docker = Docker(host)
        self.host = host
        self.project = project
        self._folder = folder

    def launcher(self, models: Collection[str] = (ECHO, OTHER)) -> Launcher:
        return DockerLauncher(Docker(self.host), models, grace_seconds=GRACE, project=self.project)

    async def make_template(self, name: str = "consumer-1", **host: Any) -> str:
        """As Compose leaves it: started, and ended with code 0."""
        await asyncio.to_thread(_import_empty, self.host)
        settings = [f"{k}={v}" for k, v in os.environ.items() if k.startswith("DARKROOM_")]
        config: dict[str, Any] = {
            "Image": EMPTY,
            "Cmd": ["true"],
            "Env": [f"PATH={sys.prefix}/bin:/usr/bin:/bin", "HOME=/tmp", *settings],
            "WorkingDir": str(PROJECT),
            "StopTimeout": 7,
            "Labels": {"com.docker.compose.project": self.project, **TEMPLATE_LABELS},
            "HostConfig": {
                "Binds": [*_this_machine(), f"{self._folder}:{self._folder}"],
                "NetworkMode": "none",
                **host,
            },
        }
        template = await self.docker.containers.run(config, name=f"{self.project}-{name}")
        await template.wait()
        return template.id

    async def containers(self, *more: str) -> list[dict[str, Any]]:
        """Of the project, but for the template, in whatever state; `more` are labels."""
        labels = [f"com.docker.compose.project={self.project}", "darkroom.worker", *more]
        filters = {"label": labels}
        found = await self.docker.containers.list(all=True, filters=filters)
        return [one._container for one in found]

    async def workers(self) -> set[str]:
        found = await self.containers()
        return {one["Labels"]["darkroom.worker"] for one in found if one["State"] == "running"}

    async def kill(self, worker: str) -> None:
        await self.docker.containers.container(worker).kill()

    async def clear(self) -> None:
        filters = {"label": [f"com.docker.compose.project={self.project}"]}
        for container in await self.docker.containers.list(all=True, filters=filters):
            await container.delete(force=True, v=True)
        await self.docker.close()

    @asynccontextmanager
    async def unremovable(self, worker: str) -> AsyncIterator[None]:
        """The engine cannot remove that container within it, as with a disk that has a fault."""
        id = (await self.docker.containers.container(worker).show())["Id"]
        folder = f"{(await self.docker.system.info())['DockerRootDir']}/containers/{id}"
        await self._set_immutable(folder, 1)
        try:
            yield
        finally:
            await self._set_immutable(folder, 0)

    async def _set_immutable(self, folder: str, wanted: int) -> None:
        """From a container, since the engine's folders are root's, and root's alone."""
        config: dict[str, Any] = {
            "Image": EMPTY,
            "Cmd": [sys.executable, "-c", SET_IMMUTABLE, folder, str(wanted)],
            "HostConfig": {
                "Binds": [*_this_machine(), f"{folder}:{folder}"],
                "CapAdd": ["LINUX_IMMUTABLE"],
                "NetworkMode": "none",
            },
        }
        setting = await self.docker.containers.run(config)
        try:
            assert (await setting.wait())["StatusCode"] == 0, await setting.log(stderr=True)
        finally:
            await setting.delete(force=True)


def _this_machine() -> list[str]:
    here: list[str | Path] = [
        "/bin",
        "/lib",
        "/lib64",
        "/usr",
        "/etc",
        sys.base_prefix,
        sys.prefix,
        PROJECT,
    ]
    return [f"{path}:{path}:ro" for path in dict.fromkeys(here) if Path(path).exists()]


def _import_empty(host: str) -> None:
    tar = BytesIO()
    tarfile.open(mode="w", fileobj=tar).close()
    command = ["docker", "--host", host, "import", "-", EMPTY]
    subprocess.run(command, input=tar.getvalue(), check=True, capture_output=True)


async def ended(launcher: Launcher, id: str) -> Launched:
    """That consumer, once it has."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for one in await launcher.running():
                if one.id == id and one.exit_code is not None:
                    return one
            await asyncio.sleep(0.05)
