"""The scaler of this host: python -m scaler."""

from __future__ import annotations

import asyncio
import sys

from common.catalogue import Catalogue, read_catalogue
from common.errors import CatalogueInvalid, SettingsInvalid
from common.job_log import open_job_log
from common.outage import until_available
from common.processes import stop_at_signal
from common.scaling import ModelScaling, Rules, rules_of, usual_rules
from common.settings import Settings
from common.startup import begin
from scaler.launchers import ProcessLauncher
from scaler.policy import Policy
from scaler.scaler import Scaler

USAGE = 2


async def scale(catalogue: Catalogue, settings: Settings) -> None:
    """Until SIGTERM or SIGINT; every consumer that it started has ended then."""
    log = await until_available(open_job_log, settings.log_url, partitions=settings.partitions)
    usual = usual_rules(settings)

    def rules(model: str, changed: ModelScaling) -> Rules:
        return rules_of(catalogue[model], usual, settings.partitions, changed)

    scaler = Scaler(
        models=[model.name for model in catalogue],
        rules_of=rules,
        log=log,
        launcher=ProcessLauncher(grace_seconds=settings.grace_seconds),
        policy=Policy(settings.slots),
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
