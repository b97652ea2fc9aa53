"""`darkroom get`, `list`, `cancel`, `retry`, `delete`: predictions of the server, by their ids."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console

from cli.client import Client
from cli.errors import ItemFailed
from cli.exit_codes import ExitCode
from cli.options import DEFAULT_URL, JsonOption, KeyOption, QuietOption, UrlOption
from cli.printing import print_json
from cli.running import talk
from common.job import JobState

Prediction = dict[str, Any]  # as the server shows it
Page = dict[str, Any]

Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Predictions.")]


def get(
    id: Annotated[str, typer.Argument(metavar="ID", help="A prediction.")],
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one prediction as it is now."""

    async def show(client: Client) -> ExitCode:
        try:
            found = await client.ask(Prediction, "GET", _path(id))
        except ItemFailed as error:
            _complain(id, error)
            return ExitCode.SOME_FAILED
        if as_json:
            print_json(found)
        else:
            print_prediction(found)
        return ExitCode.OK

    talk(show, url, key)


def list_predictions(
    status: Annotated[JobState | None, typer.Option(help="Only those that stand there.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="OWNER/NAME", help="Only of this model.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Only those with this label.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most that are shown.")] = 100,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List predictions, newest first."""
    wanted = {"status": status and status.value, "model": model, "label": label}
    filters = {name: value for name, value in wanted.items() if value is not None}

    async def show(client: Client) -> ExitCode:
        found = await _newest(client, filters, limit)
        if as_json:
            print_json(found)
            return ExitCode.OK
        for each in found:
            words = each["id"], f"{each['status']:<10}", each["created_at"], each["model"]
            _say("  ".join((*words, _outcome(each))).rstrip())
        return ExitCode.OK

    talk(show, url, key)


def cancel(
    ids: Ids,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Cancel predictions, running or not. Those that have ended stay as they are."""

    async def one(client: Client, id: str) -> Prediction:
        now = await client.ask(Prediction, "POST", f"{_path(id)}/cancel")
        return {"id": id, "status": now["status"]}

    talk(_each(ids, one, lambda done: done["status"], as_json=as_json, quiet=quiet), url, key)


def retry(
    ids: Ids,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run predictions that have ended once more, as new ones."""

    async def one(client: Client, id: str) -> Prediction:
        made = await client.ask(Prediction, "POST", f"{_path(id)}/retry")
        return {"id": id, "status": made["status"], "retried_as": made["id"]}

    told = _each(ids, one, lambda done: f"again as {done['retried_as']}", as_json, quiet)
    talk(told, url, key)


def delete(
    ids: Ids,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Remove inputs and results of predictions that have ended, now."""

    async def one(client: Client, id: str) -> Prediction:
        await client.delete(_path(id))
        return {"id": id, "data_removed": True}

    talk(_each(ids, one, lambda _: "removed", as_json=as_json, quiet=quiet), url, key)


def _each(
    ids: Sequence[str],
    one: Callable[[Client, str], Awaitable[Prediction]],
    words: Callable[[Prediction], str],
    as_json: bool,
    quiet: bool,
) -> Callable[[Client], Awaitable[ExitCode]]:
    """One after the other; what fails does not keep the rest from being done."""

    async def work(client: Client) -> ExitCode:
        told: list[Prediction] = []
        failed = False
        for id in dict.fromkeys(ids):
            try:
                done = await one(client, id)
            except ItemFailed as error:
                failed = True
                told.append({"id": id, "error": str(error), "code": error.code})
                _complain(id, error)
            else:
                told.append(done)
                if not as_json and not quiet:
                    _say(f"{id}: {words(done)}")
        if as_json:
            print_json(told)
        return ExitCode.SOME_FAILED if failed else ExitCode.OK

    return work


async def _newest(client: Client, filters: dict[str, str], limit: int) -> list[Prediction]:
    page = await client.ask(Page, "GET", "/v1/predictions", params=filters)
    found: list[Prediction] = page["results"]
    while page["next"] and len(found) < limit:
        page = await client.ask(Page, "GET", page["next"])
        found += page["results"]
    return found[:limit]


def _path(id: str) -> str:
    return f"/v1/predictions/{quote(id, safe='')}"


def print_prediction(found: Prediction, *, link: bool = False) -> None:
    """A line for each thing that is known of it; its `access_link` too, if asked for."""
    names = ["id", "model", "status", "created_at", "completed_at", "start_by", "error_code"]
    names += ["retry_of", "reused_from", *(["access_link"] if link else [])]
    for name in names:
        if found.get(name) is not None:
            _say(f"{name}: {found[name]}")
    if outcome := _outcome(found):
        _say(f"{'result' if JobState(found['status']).terminal else 'queue'}: {outcome}")


def place(queue: dict[str, Any]) -> str:
    """Where a job stands in its queue, as far as it is known, and why it waits."""
    before = "" if queue["position"] is None else f"{queue['position']} before it"
    eta = "" if queue["eta_seconds"] is None else f"starts in {queue['eta_seconds']:g} s"
    return ", ".join(word for word in (before, eta, queue["reason"]) if word)


def _outcome(found: Prediction) -> str:
    """What came of it, or why nothing has yet."""
    if found["data_removed"]:
        return "removed"
    if found["error"] is not None:
        return str(found["error"])
    output = found["output"]
    if output is None:
        return place(found["queue"])
    return output if isinstance(output, str) else json.dumps(output)


def _say(line: str) -> None:
    Console(markup=False, highlight=False).print(line, soft_wrap=True)


def _complain(id: str, error: ItemFailed) -> None:
    console = Console(stderr=True)
    console.print(f"{id}: {error}", style="red", soft_wrap=True, markup=False, highlight=False)
