"""`darkroom dead-letters`: what failed for good, replayed or discarded."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from cli.client import FIRST_PATIENCE_S, Client
from cli.errors import ItemFailed, UsageWrong
from cli.exit_codes import ExitCode
from cli.options import DEFAULT_URL, JsonOption, KeyOption, UrlOption
from cli.printing import print_json, print_table
from cli.running import run

PATH = "/v1/dead-letters"

app = typer.Typer(no_args_is_help=True, help="What failed for good: see it, replay it, discard it.")
console = Console(stderr=True)

CauseOption = Annotated[str | None, typer.Option("--cause", help="Only those with this cause.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", metavar="OWNER/NAME", help="Only this model's.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All of them.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Ids of the predictions.")]


class Letter(msgspec.Struct, frozen=True):
    id: str
    model: str
    cause: str
    error: str
    attempts: int
    failed_at: str


class Letters(msgspec.Struct, frozen=True):
    results: list[Letter]
    next: str | None = None


class Group(msgspec.Struct, frozen=True):
    model: str
    cause: str
    count: int
    first_failed_at: str
    last_failed_at: str
    sample: Letter


class Groups(msgspec.Struct, frozen=True):
    results: list[Group]


class Outcome(msgspec.Struct, frozen=True):
    """What a replay or a discard came to, over all its calls."""

    done: int
    remaining: int
    results: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []


@app.command(name="list")
def list_letters(
    cause: CauseOption = None,
    model: ModelOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """The latest hundred that wait."""

    async def show() -> ExitCode:
        async with _client(url, key) as client:
            found = await client.ask(Letters, "GET", PATH, params=_filter(cause, model))
        rows = [
            (one.id, one.model, one.cause, str(one.attempts), one.failed_at, one.error)
            for one in found.results
        ]
        _print(
            found.results, ("id", "model", "cause", "attempts", "failed", "error"), rows, as_json
        )
        if found.next:
            console.print("There are more: `darkroom dead-letters groups` counts them.")
        return ExitCode.OK

    _run(show())


@app.command()
def groups(
    cause: CauseOption = None,
    model: ModelOption = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many wait of each model and cause, with the latest error of each."""

    async def show() -> ExitCode:
        async with _client(url, key) as client:
            found = await client.ask(Groups, "GET", f"{PATH}/groups", params=_filter(cause, model))
        rows = [
            (str(one.count), one.model, one.cause, one.last_failed_at, one.sample.error)
            for one in found.results
        ]
        _print(found.results, ("count", "model", "cause", "latest", "its error"), rows, as_json)
        return ExitCode.OK

    _run(show())


@app.command()
def replay(
    ids: Ids = None,
    cause: CauseOption = None,
    model: ModelOption = None,
    everything: AllOption = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run them once more, as new predictions."""
    _run(_deal("replay", _selection(ids, cause, model, everything), url, key, as_json))


@app.command()
def discard(
    ids: Ids = None,
    cause: CauseOption = None,
    model: ModelOption = None,
    everything: AllOption = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget that they wait. They stay failed."""
    _run(_deal("discard", _selection(ids, cause, model, everything), url, key, as_json))


async def _deal(
    verb: str, selection: dict[str, Any], url: str, key: str | None, as_json: bool
) -> ExitCode:
    """Call until nothing is left, or nothing more can be done."""
    done, results = 0, list[dict[str, Any]]()
    async with _client(url, key) as client:
        while True:
            outcome = await client.ask(Outcome, "POST", f"{PATH}/{verb}", json=selection)
            done += outcome.done
            results += outcome.results
            if not outcome.remaining or not outcome.done:
                break
    if as_json:
        whole = msgspec.structs.replace(outcome, done=done, results=results)
        print_json(msgspec.to_builtins(whole))
    else:
        console.print(f"{done} {verb}ed, {outcome.remaining} left.", highlight=False)
        for one in outcome.refused:
            console.print(f"  {one['id']}: {one['detail']}", markup=False, highlight=False)
    return ExitCode.SOME_FAILED if outcome.remaining else ExitCode.OK


def _client(url: str, key: str | None) -> Client:
    return Client(url, key=key, patience=FIRST_PATIENCE_S)


def _filter(cause: str | None, model: str | None) -> dict[str, str]:
    return {name: word for name, word in (("cause", cause), ("model", model)) if word is not None}


def _selection(
    ids: list[str] | None, cause: str | None, model: str | None, everything: bool
) -> dict[str, Any]:
    filters = _filter(cause, model)
    if bool(ids) + bool(filters) + everything != 1:
        raise typer.BadParameter("give either ids, or --cause and --model, or --all")
    if everything:
        return {"all": True}
    return {"ids": ids} if ids else dict(filters)


def _print(
    found: Sequence[Letter | Group],
    columns: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    as_json: bool,
) -> None:
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    if rows:
        print_table(columns, rows)
    else:
        print("No dead letter waits.")


def _run(command: Coroutine[Any, Any, ExitCode]) -> None:
    async def told() -> ExitCode:
        try:
            return await command
        except ItemFailed as error:
            if error.code == "invalid_request":
                raise UsageWrong(str(error)) from error
            console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
            return ExitCode.SOME_FAILED

    raise typer.Exit(run(told(), interrupted="Interrupted: what was done stays done."))
