"""Launchers: how a consumer comes to life."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from scaler.launchers.base import Launched, Launcher
from scaler.launchers.process import ProcessLauncher

__all__ = ["Launched", "Launcher", "ProcessLauncher", "open_launcher"]


def open_launcher(
    kind: Literal["process", "docker"],
    *,
    models: Collection[str],
    grace_seconds: float,
    project: str,
) -> Launcher:
    """`project` is Compose's, which the docker launcher works in. Raises SettingsInvalid."""
    if kind == "process":
        return ProcessLauncher(models, grace_seconds=grace_seconds)
    from scaler.launchers.docker import DockerLauncher

    return DockerLauncher.open(models, grace_seconds=grace_seconds, project=project)
