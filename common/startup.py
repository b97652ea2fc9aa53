"""What every process of the pipeline does first."""

from __future__ import annotations

from common.crash_points import arm
from common.processes import hide_secrets
from common.settings import Settings, read_settings
from common.telemetry import configure_logs


def begin() -> Settings:
    """Hide what it knows from its neighbours, and read the settings. Raises SettingsInvalid."""
    hide_secrets()
    settings = read_settings()
    configure_logs(settings.log_level)
    arm(settings.crash_at)
    return settings
