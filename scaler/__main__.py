"""The scaler of this host: python -m scaler."""

from __future__ import annotations

import asyncio
import os
import sys

from common.catalogue import Catalogue, ModelSpec, read_catalogue
from common.errors import CatalogueInvalid, SettingsInvalid
from common.job_log import open_job_log
from common.outage import until_available
from common.processes import stop_at_signal
from common.settings import Settings
from common.startup import begin
from scaler.devices import Devices, find_devices
from scaler.launchers import open_launcher
from scaler.observation import Rules
from scaler.policy import Policy
from scaler.scaler import Scaler

USAGE = 2


def rules_of(model: ModelSpec, settings: Settings, copies: int = 1) -> Rules:
    """What the model's line says, and the settings for the rest; `copies` where it has no max."""

    def first(of_line: float | None, of_all: float) -> float:
        return of_all if of_line is None else of_line

    return Rules(
        minimum=min(model.min, settings.partitions),
        maximum=min(model.max or max(model.min, copies), settings.partitions),
        target=first(model.target, settings.target_seconds),
        cooldown=first(model.cooldown, settings.cooldown_seconds),
        hold_down=first(model.hold_down, settings.hold_down_seconds),
    )


async def devices_of(catalogue: Catalogue, settings: Settings) -> Devices:
    """Those of this host, for the models that any of them suits."""
    placed = [
        model.name
        for model in catalogue
        if (model.device or settings.device) not in ("auto", "cuda")
    ]
    return Devices(await find_devices(settings.devices, os.environ), elsewhere=placed)


async def scale(catalogue: Catalogue, settings: Settings) -> None:
    """Until SIGTERM or SIGINT; the consumers that are its processes have ended then."""
    devices = await devices_of(catalogue, settings)
    log = await until_available(open_job_log, settings.log_url, partitions=settings.partitions)
    try:
        launcher = open_launcher(
            settings.launcher,
            models=[model.name for model in catalogue],
            grace_seconds=settings.grace_seconds,
            project=settings.compose_project,
        )
        scaler = Scaler(
            rules={
                model.name: rules_of(model, settings, devices.copies(model.name))
                for model in catalogue
            },
            log=log,
            launcher=launcher,
            policy=Policy(devices.slots(settings.slots)),
            devices=devices,
        )
        await scaler.run(stop_at_signal())
    finally:
        await log.close()


def main() -> int:
    try:
        settings = begin()
        asyncio.run(scale(read_catalogue(settings.catalogue_file), settings))
    except (SettingsInvalid, CatalogueInvalid) as error:
        print(f"scaler: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:  # before there was anything to stop
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
