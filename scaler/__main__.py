"""The scaler of this host: python -m scaler."""

from __future__ import annotations

import asyncio
import socket
import sys
import time

from common.catalogue import Catalogue, ModelSpec, read_catalogue
from common.errors import CatalogueInvalid, SettingsInvalid
from common.exposing import exposed
from common.job_log import open_job_log
from common.outage import until_available
from common.processes import stop_at_signal
from common.settings import Settings
from common.startup import begin
from scaler.exposing import Exposed
from scaler.launchers import ProcessLauncher
from scaler.observation import Rules
from scaler.policy import Policy
from scaler.scaler import Scaler
from scaler.targets import targets

USAGE = 2


def rules_of(model: ModelSpec, settings: Settings) -> Rules:
    """What the model's line says, and the settings for the rest."""

    def first(of_line: float | None, of_all: float) -> float:
        return of_all if of_line is None else of_line

    return Rules(
        minimum=min(model.min, settings.partitions),
        maximum=min(model.max or max(model.min, 1), settings.partitions),
        target=first(model.target, settings.target_seconds),
        cooldown=first(model.cooldown, settings.cooldown_seconds),
        hold_down=first(model.hold_down, settings.hold_down_seconds),
    )


async def scale(catalogue: Catalogue, settings: Settings) -> None:
    """Until SIGTERM or SIGINT; every consumer that it started has ended then."""
    shown = Exposed(settings.slots)

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
        await _scale(catalogue, settings, shown)


async def _scale(catalogue: Catalogue, settings: Settings, shown: Exposed) -> None:
    log = await until_available(open_job_log, settings.log_url, partitions=settings.partitions)
    scaler = Scaler(
        rules={model.name: rules_of(model, settings) for model in catalogue},
        log=log,
        launcher=ProcessLauncher(grace_seconds=settings.grace_seconds),
        policy=Policy(settings.slots),
        exposed=shown,
    )
    try:
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
