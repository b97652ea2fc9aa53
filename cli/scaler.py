"""`darkroom scaler`: how many consumers there are and why; changed while it runs."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console

from cli.client import Client
from cli.exit_codes import ExitCode
from cli.options import DEFAULT_URL, JsonOption, KeyOption, UrlOption
from cli.printing import print_json, print_table
from cli.running import talk

PATH = "/v1/scaling"
COLUMNS = ("model", "ready", "loading", "min", "max", "target", "changed", "last decision")

app = typer.Typer(no_args_is_help=True, help="How many consumers there are, and why.")
console = Console(stderr=True)

ModelArgument = Annotated[
    str | None, typer.Argument(metavar="[OWNER/NAME]", help="Only this model; without: all.")
]


class Decision(msgspec.Struct, frozen=True):
    at: str
    before: int
    after: int
    reason: str
    applied: bool
    alert: str


class ModelScaling(msgspec.Struct, frozen=True):
    model: str
    paused: bool
    ready: int
    loading: int
    min: int
    max: int | None  # None: one on each device
    target: float
    cooldown: float
    hold_down: float
    changed: dict[str, Any]
    last: Decision | None


class Scaling(msgspec.Struct, frozen=True):
    mode: str
    models: list[ModelScaling]


@app.command()
def status(
    url: UrlOption = DEFAULT_URL, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """The rules of each model, its consumers, and what was decided last."""

    async def show(client: Client) -> ExitCode:
        found = await client.ask(Scaling, "GET", PATH)
        if as_json:
            print_json(msgspec.to_builtins(found))
            return ExitCode.OK
        print(f"Scaling is {found.mode.replace('_', ' ')}.")
        print_table(COLUMNS, [_row(model) for model in found.models])
        return ExitCode.OK

    talk(show, url, key)


@app.command()
def pause(model: ModelArgument = None, url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Start and stop no consumer until `resume`; those that run go on."""
    _change(_path(model), {"paused": True} if model else {"mode": "paused"}, url, key)


@app.command()
def resume(
    model: ModelArgument = None, url: UrlOption = DEFAULT_URL, key: KeyOption = None
) -> None:
    """Scale again, after `pause` or `dry-run`."""
    _change(_path(model), {"paused": False} if model else {"mode": "on"}, url, key)


@app.command(name="dry-run")
def dry_run(url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Only tell what would be started and stopped: `status` and /v1/scaling/decisions show it."""
    _change(PATH, {"mode": "dry_run"}, url, key)


@app.command(name="set")
def set_rules(
    model: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A model of the server.")],
    minimum: Annotated[
        int | None, typer.Option("--min", help="Consumers that are kept even when idle.")
    ] = None,
    maximum: Annotated[int | None, typer.Option("--max", help="The most consumers.")] = None,
    target: Annotated[
        float | None, typer.Option(help="Seconds in which what waits should be done.")
    ] = None,
    cooldown: Annotated[
        float | None, typer.Option(help="Seconds without work, before the last one stops.")
    ] = None,
    hold_down: Annotated[
        float | None, typer.Option(help="Seconds for which fewer must have been enough.")
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="All as its line in model_names.txt says.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Change a model's rules while scalers run; it outlives them."""
    rules = {
        "min": minimum,
        "max": maximum,
        "target": target,
        "cooldown": cooldown,
        "hold_down": hold_down,
    }
    given = {name: value for name, value in rules.items() if value is not None}
    if bool(given) == reset:
        raise typer.BadParameter("give either --reset, or what to change")
    _change(_path(model), dict.fromkeys(rules) if reset else given, url, key)


def _path(model: str | None) -> str:
    return f"{PATH}/models/{model}" if model else PATH


def _change(path: str, change: dict[str, Any], url: str, key: str | None) -> NoReturn:
    async def send(client: Client) -> ExitCode:
        await client.ask(dict[str, Any], "PATCH", path, json=change)
        console.print("Done. `darkroom scaler status` shows it.")
        return ExitCode.OK

    talk(send, url, key)


def _row(model: ModelScaling) -> tuple[str, ...]:
    changed = [f"{name}={value:g}" for name, value in model.changed.items() if name != "paused"]
    return (
        model.model,
        str(model.ready),
        str(model.loading),
        str(model.min),
        "a device" if model.max is None else str(model.max),
        f"{model.target:g} s",
        " ".join([*changed, *(["paused"] if model.paused else [])]) or "-",
        _last(model.last),
    )


def _last(last: Decision | None) -> str:
    if last is None:
        return "-"
    words = f"{last.at}  {last.before} -> {last.after}: {last.reason}"
    return words if last.applied else f"{words} (dry run)"
