"""The processes of the API: `python -m api serve`, `record` and `notify`."""

from __future__ import annotations

import importlib
import sys
from enum import IntEnum

import uvloop

from common.catalogue import read_catalogue
from common.errors import CatalogueInvalid, SettingsInvalid
from common.startup import begin
from common.tracing import exported

# Each with its name in traces.
ROLES = {"serve": "darkroom-api", "record": "darkroom-recorder", "notify": "darkroom-notifier"}


class ExitCode(IntEnum):
    """How a process ended."""

    STOPPED = 0
    FAILED = 1
    USAGE = 2


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in ROLES:
        print("usage: python -m api serve|record|notify", file=sys.stderr)
        return ExitCode.USAGE
    role = sys.argv[1]
    try:
        settings = begin()
        catalogue = read_catalogue(settings.catalogue_file)
        run = getattr(importlib.import_module(f"api.roles.{role}"), role)  # no role loads another's
        with exported(settings.otlp_endpoint, ROLES[role]):
            return ExitCode.STOPPED if uvloop.run(run(catalogue, settings)) else ExitCode.FAILED
    except (SettingsInvalid, CatalogueInvalid) as error:
        print(f"api {role}: {error}", file=sys.stderr)
        return ExitCode.USAGE
    except KeyboardInterrupt:  # before there was anything to finish
        return ExitCode.STOPPED


if __name__ == "__main__":
    sys.exit(main())
