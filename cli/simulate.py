"""`darkroom simulate`: what the scaler would do with a load, and what that would cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from cli.exit_codes import ExitCode
from common.errors import SettingsInvalid

if TYPE_CHECKING:
    from scaler.simulation.system import Change

console = Console(stderr=True)
SHOWN = 20  # decisions
# Of `Outcome.figures`, in their order; p95+ is what is beyond the cold start.
HEADINGS = ("rule", "wait p50", "p95", "p95+", "max", "device h", "changes/h", "unfinished")


class Pattern(StrEnum):
    """Loads that need no file."""

    POISSON = "poisson"
    DIURNAL = "diurnal"
    BURST = "burst"
    ZIPF = "zipf"


def simulate(
    trace: Annotated[
        Path | None,
        typer.Argument(help="CSV with a header: second,model[,priority[,jobs]]."),
    ] = None,
    pattern: Annotated[
        Pattern, typer.Option(help="The load, where no TRACE is given.")
    ] = Pattern.DIURNAL,
    rate: Annotated[float, typer.Option(min=1e-4, help="Jobs a second, on average.")] = 5.0,
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 7, help="Of the pattern.")] = 24.0,
    seconds_per_job: Annotated[
        float, typer.Option(min=0.5, max=86_400, help="In one consumer.")
    ] = 2.0,
    cold_start: Annotated[
        float, typer.Option(min=0, max=86_400, help="Seconds until one is ready.")
    ] = 20.0,
    slots: Annotated[int, typer.Option(min=1, help="The most consumers at once.")] = 1000,
    target: Annotated[
        float, typer.Option(min=0.1, max=1e6, help="As DARKROOM_TARGET_SECONDS.")
    ] = 30.0,
    cooldown: Annotated[float, typer.Option(min=0, help="As DARKROOM_COOLDOWN_SECONDS.")] = 300.0,
    hold_down: Annotated[float, typer.Option(min=0, help="As DARKROOM_HOLD_DOWN_SECONDS.")] = 180.0,
    minimum: Annotated[int, typer.Option("--min", min=0, help="As min= of a model.")] = 0,
    seed: Annotated[int, typer.Option(help="Of chance in the pattern and in the jobs.")] = 0,
    picture: Annotated[Path | None, typer.Option(help="Draw it, into this PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Try the scaling rule on a load, beside KEDA's and an always-on fleet. Starts nothing."""
    try:
        from common.scaling import Rules
        from scaler.simulation.compare import compare
        from scaler.simulation.picture import draw
        from scaler.simulation.system import System
        from scaler.simulation.traces import PATTERNS, read_trace
    except ModuleNotFoundError as error:
        console.print(
            f"{error.name} is not installed: pip install 'darkroom[simulation]'",
            style="red",
            markup=False,
        )
        raise typer.Exit(ExitCode.USAGE) from error
    try:
        load = (
            read_trace(trace)
            if trace
            else PATTERNS[pattern.value](rate=rate, seconds=hours * 3600.0, seed=seed)
        )
        if not load.jobs:
            raise SettingsInvalid("no job arrives in this load: raise --rate or --hours")
        system = System(seconds_per_job, cold_start, slots, seed)
        rules = Rules(minimum, max(slots, minimum), target, cooldown, hold_down)
        with console.status(f"{load.jobs:,} jobs in {load.ticks:,} ticks"):
            outcomes = compare(load, system, rules)
        if picture:
            draw([outcomes], picture)
    except (SettingsInvalid, OSError) as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(ExitCode.USAGE) from error
    if as_json:
        for outcome in outcomes:
            print(json.dumps(outcome.figures(cold_start)))
        return
    title = f"{load.name}: {load.jobs:,} jobs, {load.hours:.1f} hours"
    _print_table(title, [outcome.figures(cold_start) for outcome in outcomes])
    _print_changes(outcomes[0].changes)


def _print_table(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    table = Table(title=title, box=SIMPLE)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if table.columns else "left")
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    Console().print(table)


def _print_changes(changes: Sequence[Change]) -> None:
    for change in changes[:SHOWN]:
        print(
            f"{change.at:9.1f} s  {change.model}: {change.before} -> {change.after}  "
            f"({change.reason})"
        )
    if len(changes) > SHOWN:
        print(f"... and {len(changes) - SHOWN:,} more decisions")


def _shown(value: object) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value}"
