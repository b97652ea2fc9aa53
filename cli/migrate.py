"""`darkroom migrate`: moves an embedded installation to the servers."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.errors import ServerUnavailable, UsageWrong
from cli.exit_codes import ExitCode
from cli.options import JsonOption
from cli.printing import print_json, print_table
from cli.running import run
from common.errors import InUse, SettingsInvalid, Unavailable
from common.job_log.condition import condition_of as log_condition
from common.object_store import ObjectStore, open_object_store
from common.object_store.condition import try_object_store
from common.server_url import shown
from common.settings import Settings, read_settings
from common.telemetry import configure_logs

if TYPE_CHECKING:
    from api.upkeep.moving import Embedded, Move, Plan

_TARGETS = {
    "DARKROOM_JOB_LOG_URL": ("log_url", "kafka://"),
    "DARKROOM_OBJECT_STORE_URL": ("store_url", "s3://"),
    "DARKROOM_DATABASE_URL": ("ledger_url", "postgresql+asyncpg://"),
}
_MIB = 1024 * 1024
_console = Console(stderr=True)


def migrate(
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FOLDER",
            help="The data folder of the embedded stack; DARKROOM_DATA_DIR's without this.",
        ),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Move it; without this, only say.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Move an embedded installation to the servers that the settings name: Postgres, S3, Kafka.

    Jobs that wait or run go on there. Stop Darkroom first. What is cut off is run again; the old
    folder stays. Nothing changes but by --apply.
    """
    interrupted = "Interrupted. Run it again: it goes on with what is left."
    source = source and source.resolve()
    raise typer.Exit(run(_migrate(source, apply, as_json), interrupted=interrupted))


async def _migrate(source: Path | None, apply: bool, as_json: bool) -> ExitCode:
    configure_logs("error")
    try:
        settings = read_settings()
        plan = await migrated(settings, source or settings.data_dir.resolve(), apply=apply)
    except SettingsInvalid as error:
        raise UsageWrong(str(error)) from error
    except InUse as error:
        raise UsageWrong(f"{error}. Stop Darkroom there, and run this again.") from error
    except Unavailable as error:
        raise ServerUnavailable(
            f"{error}. Run this again: it goes on with what is left."
        ) from error
    if as_json:
        print_json(asdict(plan))
    else:
        _show(plan, apply)
    return ExitCode.SOME_FAILED if plan.damaged else ExitCode.OK


async def migrated(settings: Settings, source: Path, *, apply: bool) -> Plan:
    """What there was to move, and moved if `apply`.

    Raises UsageWrong, SettingsInvalid, InUse, Unavailable.
    """
    from api.upkeep.moving import Embedded  # it brings the whole of the API with it

    _check_targets(settings)
    old = Embedded(folder=source)
    await _check_old(old)
    await log_condition(settings.log_url, [])  # it answers; the sweeper makes its topics
    plan = await (await _move(old, settings, make=False)).plan()
    _check(plan, settings)
    if apply and not plan.moved:
        move = await _move(old, settings, make=True)
        if plan.events:
            await move.record(plan.events)
            plan = await move.plan()
        await move.run(plan)
    return plan


async def _move(old: Embedded, settings: Settings, *, make: bool) -> Move:
    """To what is there already, or is made now."""
    from api.upkeep.moving import Move

    return Move(
        old=old,
        new_ledger=await _new_ledger(settings.ledger_url, make),
        new_store=await _new_store(settings.store_url, make),
        told=_say,
    )


def _check_targets(settings: Settings) -> None:
    for name, (attribute, scheme) in _TARGETS.items():
        if not getattr(settings, attribute).startswith(scheme):
            raise UsageWrong(
                f"{name} names no server: set it to {scheme}… first, in the environment or in "
                "apps.env (docs/operating.md shows all three)"
            )


async def _check_old(old: Embedded) -> None:
    from api.database.condition import condition_of

    if not await asyncio.to_thread(old.ledger.is_file):
        raise UsageWrong(
            f"There is no ledger.sqlite in {old.folder}: name by --from the folder that "
            '`darkroom up` shows as "Data in"'
        )
    found = await condition_of(old.ledger_url)
    if found.revision != found.newest:
        raise UsageWrong(
            f"The tables in {old.folder} are at revision {found.revision}, and this version needs "
            f"{found.newest}: start `darkroom up` on it once, it migrates them"
        )


async def _new_ledger(url: str, make: bool) -> str | None:
    """The URL, once its tables are there; None where they are still to be made."""
    from api.database.condition import condition_of
    from api.database.database import Database

    found = await condition_of(url)
    if found.revision not in (None, found.newest):
        raise UsageWrong(
            f"The new ledger's tables are at revision {found.revision}, and this version needs "
            f"{found.newest}: name an empty database by DARKROOM_DATABASE_URL"
        )
    if make:
        await (await Database.open(url)).close()
    return url if make or found.revision else None


async def _new_store(url: str, make: bool) -> ObjectStore | None:
    """The store; None where the bucket is still to be made."""
    from common.object_store.s3 import BucketMissing

    if not make:
        try:
            await try_object_store(url)
        except BucketMissing:
            return None
    return await open_object_store(url)


def _check(plan: Plan, settings: Settings) -> None:
    if plan.strays:
        raise UsageWrong(
            f"{plan.strays} rows of the old ledger belong to no job, which Postgres refuses: mend "
            "it with `darkroom repair --apply`, with the settings of the embedded stack"
        )
    if plan.occupied and not plan.moved:
        raise UsageWrong(
            f"The ledger at {shown(settings.ledger_url)} has rows already, in "
            f"{', '.join(plan.occupied)}: a ledger is moved into an empty database. Name one by "
            "DARKROOM_DATABASE_URL"
        )


def _show(plan: Plan, apply: bool) -> None:
    rows = [(name, str(count)) for name, count in plan.rows.items() if count]
    there = plan.objects - plan.left
    size = f"{plan.bytes / _MIB:.1f} MiB"
    rows.append(("objects", f"{plan.objects}, {size}, of which {there} are there"))
    print_table(("what", "how many"), rows)
    for key in plan.damaged:
        _say(f"damaged before, and copied as it is: {key}")
    if plan.moved:
        print("All of this was moved before: nothing is left to do.")
    elif apply:
        print(f"Moved. {plan.waiting} jobs go on once the servers' processes run.")
    else:
        events = f" {plan.events} events are recorded first." if plan.events else ""
        print(f"{plan.waiting} jobs wait or run, and would go on there.{events}")
        print("Nothing was changed: `darkroom migrate --apply` moves it.")


def _say(words: str) -> None:
    _console.print(words, soft_wrap=True, markup=False, highlight=False)
