"""`darkroom doctor`: looks at everything that Darkroom depends on, and says what to mend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.diagnosis import machine, models
from cli.diagnosis.finding import Finding, Level, fail
from cli.exit_codes import ExitCode
from cli.printing import print_json
from cli.running import run
from common.errors import DarkroomError, SettingsInvalid
from common.settings import Settings, read_settings
from common.telemetry import configure_logs

LONGEST_SECONDS = 60.0  # that one kind of check may take
_STYLES = {Level.OK: "green", Level.NOTE: "yellow", Level.FAIL: "red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="The findings on stdout.")] = False,
) -> None:
    """Check every dependency, version, disk and clock. What fails names its fix."""
    raise typer.Exit(run(_doctor(as_json), interrupted="Interrupted."))


async def _doctor(as_json: bool) -> ExitCode:
    configure_logs("error")
    try:
        settings = read_settings()
    except SettingsInvalid as error:
        findings = [fail("settings", str(error), "correct it in the environment or in apps.env")]
    else:
        findings = await diagnose(settings)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _show(findings)
    failed = any(finding.level is Level.FAIL for finding in findings)
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


async def diagnose(settings: Settings) -> list[Finding]:
    """Everything, in the order of the report."""
    from cli.diagnosis import running, servers  # they bring the whole of the API with them

    catalogue, read = await asyncio.to_thread(models.catalogue_of, settings.catalogue_file)
    findings = [
        *machine.packages(),
        *machine.access(settings),
        *await asyncio.to_thread(_on_disk, settings.data_dir),
        read,
    ]
    if catalogue is not None:
        findings += await asyncio.to_thread(lambda: list(models.model_files(catalogue)))
    looked = await asyncio.gather(
        _all("job log", servers.job_log(settings, catalogue)),
        _all("object store", servers.object_store(settings, time.time)),
        _all("ledger", servers.ledger(settings, time.time)),
        _all("api", running.api(settings)),
        _all("recorder", running.workers(settings, catalogue)),
    )
    return findings + [finding for found in looked for finding in found]


async def _all(part: str, checks: AsyncIterator[Finding]) -> list[Finding]:
    """What the checks find; if one breaks, that is a finding too."""
    found: list[Finding] = []
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            async for finding in checks:
                found.append(finding)
    except TimeoutError:
        found.append(
            fail(part, f"no answer within {LONGEST_SECONDS:.0f} s", "see whether it hangs")
        )
    except DarkroomError as error:
        found.append(fail(part, str(error), "the message says what is wrong"))
    return found


def _on_disk(folder: Path) -> list[Finding]:
    return list(machine.data_folder(folder))


def _show(findings: list[Finding]) -> None:
    console = Console()
    table = Table(show_edge=False, pad_edge=False, box=None)
    for column in ("", "", ""):
        table.add_column(column, overflow="fold")
    for finding in findings:
        says = Text(finding.says)
        if finding.fix:
            says.append(f"\n→ {finding.fix}", style=_STYLES[finding.level])
        level = Text(finding.level.value, style=_STYLES[finding.level])
        table.add_row(level, Text(finding.part, overflow="fold"), says)
    console.print(table)
    failed = sum(finding.level is Level.FAIL for finding in findings)
    console.print("Nothing is wrong." if not failed else f"{failed} to mend.", highlight=False)
