"""Launchers: how a consumer comes to life."""

from __future__ import annotations

from scaler.launchers.base import Launched, Launcher
from scaler.launchers.process import ProcessLauncher

__all__ = ["Launched", "Launcher", "ProcessLauncher"]
