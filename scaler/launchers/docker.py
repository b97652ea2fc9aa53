"""Consumers as containers: one each, made from the compose file's template."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import structlog
from aiodocker import Docker, DockerError
from aiodocker.containers import DockerContainer
from aiohttp import ClientError

from common.errors import LauncherUnavailable, LaunchFailed, SettingsInvalid
from scaler.launchers.base import Launched, Launcher, worker_name
from scaler.launchers.template import (
    DEVICE,
    MODEL,
    PROJECT,
    TEMPLATE,
    WORKER,
    container_of,
    more_networks,
)

AFTER_GRACE = 15  # seconds beyond the consumer's own grace before it is killed
ANSWER_SECONDS = 20.0  # for which the engine may be silent
ORPHAN_SECONDS = 60.0  # after which a container that was never started will never be
AGAIN_SECONDS = 60.0  # between two tries to remove one that the engine cannot remove
OUTPUT_LINES = 20
# In a container's name: it was asked to stop, by whichever scaler.
STOPPING = ".stopping"

logger = structlog.get_logger()


class DockerLauncher(Launcher):
    """They outlive the scaler: the engine holds all that is known of them.

    Every consumer of the project is ours, whoever started it: what another scaler left running is
    adopted, what it left ended is told of and removed, what it asked to stop is still stopping.
    """

    def __init__(
        self, docker: Docker, models: Collection[str], *, grace_seconds: float, project: str
    ) -> None:
        super().__init__(models)
        self._docker = docker
        self._grace = math.ceil(grace_seconds) + AFTER_GRACE
        self._project = project
        self._ended: dict[str, Launched] = {}  # removed, and not told of yet
        self._tried: dict[str, float] = {}  # could not be removed -> when that was tried last
        self._stops: dict[str, asyncio.Task[None]] = {}

    @classmethod
    def open(cls, models: Collection[str], *, grace_seconds: float, project: str) -> DockerLauncher:
        """With the engine that DOCKER_HOST names, or this machine's. Raises SettingsInvalid."""
        try:
            docker = Docker()
        except (AssertionError, ValueError, DockerError) as error:
            raise SettingsInvalid(
                "DARKROOM_LAUNCHER=docker: there is no Docker Engine here. Let DOCKER_HOST name "
                f"one, or mount /var/run/docker.sock. {error}".strip()
            ) from error
        return cls(docker, models, grace_seconds=grace_seconds, project=project)

    async def running(self) -> list[Launched]:
        async with _answering():
            found = await self._list([WORKER])
            alive = [one for container in found if (one := await self._see(container))]
        told = [*alive, *self._ended.values()]
        self._ended = {}
        return told

    async def _start(self, model: str, device: str) -> Launched:
        launched = Launched(worker_name(self._project, model), model, device)
        try:
            async with _answering():
                await self._create_and_start(launched)
        except LauncherUnavailable as error:
            raise LaunchFailed(f"a consumer of {model} could not be started: {error}") from error
        return launched

    async def stop(self, id: str) -> None:
        async with _answering():
            for container in await self._list([f"{WORKER}={id}"], status=["running"]):
                if not _is_stopping(container):
                    await container.rename(id + STOPPING)
                    self._see_to_stop(container)

    async def let_go(self) -> None:
        """Those that run go on, and the engine stops those that were asked to."""
        for task in self._stops.values():
            task.cancel()
        await asyncio.gather(*self._stops.values(), return_exceptions=True)
        self._stops = {}

    async def close(self) -> None:
        await super().close()
        await self._docker.close()

    async def _list(self, labels: list[str], **more: list[str]) -> list[DockerContainer]:
        filters = {"label": [f"{PROJECT}={self._project}", *labels], **more}
        return await self._docker.containers.list(all=True, filters=filters)

    async def _see(self, container: DockerContainer) -> Launched | None:
        """One that lives; what has ended goes to `_ended`."""
        labels = container["Labels"]
        launched = Launched(
            labels[WORKER], labels[MODEL], labels[DEVICE], stopping=_is_stopping(container)
        )
        match container["State"]:
            case "created":
                old = time.time() - container["Created"] > ORPHAN_SECONDS
                if old and await self._bury(container):
                    logger.warning("orphan_removed", worker=launched.id, model=launched.model)
                return None
            case "exited" | "dead":
                await self._end(container, launched)
                return None
            case "removing":
                return None
        known = launched.model in self._models
        if launched.stopping or not known:
            self._see_to_stop(container)
        return launched if known else None

    async def _end(self, container: DockerContainer, launched: Launched) -> None:
        """Tell of it once, with the last that it said, and remove it."""
        if container.id not in self._tried:
            state = (await container.show())["State"]
            ended = replace(launched, exit_code=state["ExitCode"])
            if ended.failed:
                ended = replace(ended, output=await _output(container, state))
            if ended.model in self._models:
                self._ended[ended.id] = ended
        await self._bury(container)

    async def _bury(self, container: DockerContainer) -> bool:
        """Remove it; if that fails, later: one that is in the way must not stop all the others."""
        now, tried = time.monotonic(), self._tried.get(container.id)
        if tried is not None and now < tried + AGAIN_SECONDS:
            return False
        try:
            await _remove(container)
        except DockerError as error:
            if tried is None:
                logger.error("not_removed", container=container.id, error=str(error))
            self._tried[container.id] = now
            return False
        self._tried.pop(container.id, None)
        return True

    def _see_to_stop(self, container: DockerContainer) -> None:
        """Begun again if it failed, or if the scaler that began it is no more."""
        begun = self._stops.get(container.id)
        if begun is None or begun.done():
            self._stops = {id: task for id, task in self._stops.items() if not task.done()}
            self._stops[container.id] = asyncio.create_task(self._stop(container))

    async def _stop(self, container: DockerContainer) -> None:
        try:
            await container.stop(t=self._grace)
        except (DockerError, ClientError) as error:
            if not _is_gone(error):
                logger.warning("stop_failed", container=container.id, error=str(error))

    async def _create_and_start(self, launched: Launched) -> None:
        template = await self._template()
        config = container_of(launched, template)
        container = await self._docker.containers.create(config, name=launched.id)
        try:
            for name, endpoint in more_networks(template).items():
                network = await self._docker.networks.get(name)
                await network.connect({"Container": container.id, "EndpointConfig": endpoint})
            await container.start()
        except DockerError:
            await _remove(container)
            raise

    async def _template(self) -> dict[str, Any]:
        """What the template's container is made of: of several, the one that was up last."""
        found = [await one.show() for one in await self._list([TEMPLATE])]
        if not found:
            raise LaunchFailed(
                f"Compose's project {self._project!r} has no template of a consumer. Bring it up "
                "with a profile, such as `docker compose --profile cpu up`; another project is "
                "named by DARKROOM_COMPOSE_PROJECT"
            )
        return max(found, key=lambda one: str(one["State"]["StartedAt"]))


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Raises LauncherUnavailable where the engine does not answer, or refuses."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            yield
    except (DockerError, ClientError, TimeoutError, OSError) as error:
        reason = str(error) or f"silent for {ANSWER_SECONDS:g} s"
        raise LauncherUnavailable(f"the Docker Engine: {reason}") from error


def _is_stopping(container: DockerContainer) -> bool:
    return any(name.endswith(STOPPING) for name in container["Names"])


def _is_gone(error: Exception) -> bool:
    """Removed by someone else, or being removed."""
    return isinstance(error, DockerError) and error.status in (404, 409)


async def _remove(container: DockerContainer) -> None:
    try:
        await container.delete(force=True, v=True)
    except DockerError as error:
        if not _is_gone(error):
            raise


async def _output(container: DockerContainer, state: dict[str, Any]) -> str:
    """What it wrote last: with its container its log goes, too."""
    reason = "It was killed: out of memory.\n" if state["OOMKilled"] else ""
    try:
        lines = await container.log(stdout=True, stderr=True, tail=OUTPUT_LINES)
    except DockerError as error:  # a log driver that cannot be read from
        return f"{reason}(its log: {error})"
    return reason + "".join(lines)
