"""The scaler of this host: python -m scaler."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time

from common.catalogue import Catalogue, read_catalogue
from common.errors import CatalogueInvalid, SettingsInvalid
from common.exposing import exposed
from common.job_log import open_job_log
from common.outage import until_available
from common.processes import stop_at_signal
from common.scaling import ModelScaling, Rules, rules_of, usual_rules
from common.settings import Settings
from common.startup import begin
from scaler.devices import Devices, find_devices
from scaler.exposing import Exposed
from scaler.launchers import open_launcher
from scaler.policy import Policy
from scaler.scaler import Scaler
from scaler.targets import targets

USAGE = 2


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
    shown = Exposed(devices.slots(settings.slots))

    def find_targets() -> bytes:
        return targets(
            shown.workers(),
            now=time.time(),
            host=socket.gethostname(),
            loopback=settings.metrics_host if settings.metrics_on_loopback else None,
        )

    with exposed(
        shown.registry,
        host=settings.metrics_host,
        port=settings.scaler_metrics_port,
        pages={"/targets": find_targets},
    ):
        await _scale(catalogue, settings, devices, shown)


async def _scale(
    catalogue: Catalogue, settings: Settings, devices: Devices, shown: Exposed
) -> None:
    def rules(model: str, changed: ModelScaling) -> Rules:
        usual = usual_rules(settings, copies=devices.copies(model))
        return rules_of(catalogue[model], usual, settings.partitions, changed)

    log = await until_available(open_job_log, settings.log_url, partitions=settings.partitions)
    try:
        launcher = open_launcher(
            settings.launcher,
            models=[model.name for model in catalogue],
            grace_seconds=settings.grace_seconds,
            project=settings.compose_project,
        )
        scaler = Scaler(
            models=[model.name for model in catalogue],
            rules_of=rules,
            log=log,
            launcher=launcher,
            policy=Policy(devices.slots(settings.slots)),
            devices=devices,
            exposed=shown,
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
