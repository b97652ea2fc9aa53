"""`darkroom webhooks`: registered webhooks and their deliveries, by the server's HTTP API."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cli.client import FIRST_PATIENCE_S, Client
from cli.errors import ItemFailed, UsageWrong
from cli.exit_codes import ExitCode
from cli.moments import seconds
from cli.options import DEFAULT_URL, JsonOption, KeyOption, UrlOption
from cli.running import run
from cli.table import print_table

PATH = "/v1/webhooks"

app = typer.Typer(no_args_is_help=True, help="Webhooks: register, try, pause, look at, send again.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id.")]
DeliveryId = Annotated[str, typer.Argument(metavar="ID", help="The delivery's id.")]


@app.command(name="list")
def list_webhooks(
    url: UrlOption = DEFAULT_URL, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Those that are registered."""
    _pages(PATH, ("id", "state", "url", "events"), url, key, as_json)


@app.command()
def create(
    receiver: Annotated[str, typer.Argument(metavar="URL", help="Where to send.")],
    event: Annotated[
        list[str] | None, typer.Option(help="start, output, logs, completed; again for several.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Register a URL, and show its secret: this once."""
    body = {"url": receiver, "events": event} if event else {"url": receiver}
    _one("POST", PATH, url, key, json=body)


@app.command(name="test")
def send_test(id: Id, url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Send a test to it."""
    _one("POST", f"{PATH}/{id}/test", url, key)


@app.command()
def rotate(
    id: Id,
    overlap: Annotated[
        str, typer.Option(metavar="1d", help="How long the old secret signs too.")
    ] = "1d",
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """A new secret, shown this once. `default` is the one of webhooks that predictions name."""
    path = f"{PATH}/default/secret" if id == "default" else f"{PATH}/{id}"

    async def show() -> ExitCode:
        lasting = {"overlap_seconds": seconds(overlap, option="--overlap")}
        _print(await _asked("POST", f"{path}/rotate", url, key, json=lasting))
        return ExitCode.OK

    raise typer.Exit(run(show(), interrupted="Interrupted."))


@app.command()
def pause(id: Id, url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Send nothing to it until it is resumed."""
    _one("POST", f"{PATH}/{id}/pause", url, key)


@app.command()
def resume(id: Id, url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Send to it again, whether it was paused or turned off."""
    _one("POST", f"{PATH}/{id}/resume", url, key)


@app.command()
def delete(id: Id, url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Delete it, with all of its deliveries."""
    _one("DELETE", f"{PATH}/{id}", url, key)


@app.command()
def deliveries(
    state: Annotated[str | None, typer.Option(help="pending, delivered or exhausted.")] = None,
    webhook: Annotated[str | None, typer.Option(metavar="ID", help="Of this one.")] = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deliveries, the newest 100 of them."""
    asked = {"state": state, "webhook": webhook}
    query = {name: value for name, value in asked.items() if value is not None}
    columns = ("id", "state", "attempts", "event", "url")
    _pages(f"{PATH}/deliveries", columns, url, key, as_json, params=query)


@app.command()
def resend(id: DeliveryId, url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """Send a delivery again."""
    _one("POST", f"{PATH}/deliveries/{id}/resend", url, key)


def _one(method: str, path: str, url: str, key: str | None, **options: object) -> None:
    async def show() -> ExitCode:
        shown = await _asked(method, path, url, key, **options)
        if shown is not None:
            _print(shown)
        return ExitCode.OK

    raise typer.Exit(run(show(), interrupted="Interrupted."))


def _pages(
    path: str,
    columns: tuple[str, ...],
    url: str,
    key: str | None,
    as_json: bool,
    **options: object,
) -> None:
    async def show() -> ExitCode:
        results = (await _asked("GET", path, url, key, **options))["results"]
        if as_json:
            _print(results)
        else:
            print_table(columns, [_cells(result, columns) for result in results])
        return ExitCode.OK

    raise typer.Exit(run(show(), interrupted="Interrupted."))


def _cells(result: dict[str, Any], columns: tuple[str, ...]) -> list[str]:
    cells = [result[column] for column in columns]
    return [" ".join(cell) if isinstance(cell, list) else str(cell) for cell in cells]


def _print(reply: Any) -> None:
    print(json.dumps(reply, indent=2))


async def _asked(method: str, path: str, url: str, key: str | None, **options: object) -> Any:
    """The JSON of the reply, None without a body. Raises UsageWrong for what is refused."""
    async with Client(url, key=key, patience=FIRST_PATIENCE_S) as client:
        try:
            return await client.ask(object, method, path, **options)
        except ItemFailed as error:
            raise UsageWrong(str(error)) from error
