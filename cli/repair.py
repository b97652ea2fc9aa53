"""`darkroom repair`: compares ledger, objects and log, and mends them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.errors import ServerUnavailable, UsageWrong
from cli.exit_codes import ExitCode
from cli.printing import print_json
from cli.running import run
from common.catalogue import read_catalogue
from common.errors import CatalogueInvalid, SettingsInvalid, Unavailable
from common.job_log import open_job_log
from common.object_store import open_object_store
from common.object_store.condition import try_object_store
from common.settings import Settings, read_settings
from common.telemetry import configure_logs

if TYPE_CHECKING:
    from api.upkeep.repairing import Damage


def repair(
    apply: Annotated[
        bool, typer.Option("--apply", help="Mend it; without this, only say.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was found, on stdout.")] = False,
) -> None:
    """Compare ledger, objects and log, and say what does not fit. Nothing changes but by --apply.

    Safe while Darkroom runs. The exit code is 1 while there is something to mend.
    """
    raise typer.Exit(run(_repair(apply, as_json), interrupted="Interrupted. Run it again."))


async def _repair(apply: bool, as_json: bool) -> ExitCode:
    configure_logs("error")
    try:
        settings = read_settings()
        found = await repaired(settings, apply=apply)
    except (SettingsInvalid, CatalogueInvalid) as error:
        raise UsageWrong(str(error)) from error
    except Unavailable as error:
        raise ServerUnavailable(f"{error}: `darkroom doctor` says more") from error
    if as_json:
        print_json([asdict(damage) for damage in found])
    else:
        _show(found, apply)
    left = any(damage.unknown or (damage.count and not apply) for damage in found)
    return ExitCode.SOME_FAILED if left else ExitCode.OK


async def repaired(
    settings: Settings, *, apply: bool, orphan_seconds: float | None = None
) -> list[Damage]:
    """What was found, and mended if `apply`. Raises UsageWrong, Unavailable."""
    # Not above: they bring the whole of the API with them.
    from api.database.condition import condition_of
    from api.database.database import Database
    from api.sweeper import Sweeper
    from api.upkeep.repairing import Repair
    from api.upkeep.retention import ORPHAN_SECONDS

    catalogue = read_catalogue(settings.catalogue_file)
    tables = await condition_of(settings.ledger_url)
    if tables.revision != tables.newest:
        raise UsageWrong(
            f"The ledger's tables are at revision {tables.revision}, and this version needs "
            f"{tables.newest}: start the API once, it migrates them."
        )
    database = await Database.open(settings.ledger_url)
    log = await open_job_log(settings.log_url, partitions=settings.partitions)
    try:
        sweeper = Sweeper(
            log=log,
            database=database,
            models=[model.name for model in catalogue],
            every_seconds=settings.sweep_seconds,
            after_seconds=settings.sweep_after_seconds,
        )
        # First of all: an empty store in place of a missing one would make every result look lost.
        await try_object_store(settings.store_url)
        store = await open_object_store(settings.store_url)
        whole = Repair(
            log=log,
            store=store,
            database=database,
            sweeper=sweeper,
            apply=apply,
            orphan_seconds=ORPHAN_SECONDS if orphan_seconds is None else orphan_seconds,
        )
        return await whole.run()
    finally:
        await log.close()
        await database.close()


def _show(found: list[Damage], apply: bool) -> None:
    table = Table(show_edge=False, pad_edge=False, box=None)
    for name in ("found", "what", "to be" if not apply else "was", "such as"):
        table.add_column(name, overflow="fold")
    for damage in found:
        count = "?" if damage.unknown else str(damage.count)
        samples = damage.unknown or "\n".join(damage.samples)
        table.add_row(count, damage.kind, damage.mending if damage.count else "", Text(samples))
    console = Console()
    console.print(table)
    if not apply and any(damage.count for damage in found):
        console.print("Nothing was changed: `darkroom repair --apply` mends it.", markup=False)
