"""`darkroom webhooks`: registered webhooks and their deliveries, by the server's HTTP API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.client import Client
from cli.exit_codes import ExitCode
from cli.moments import seconds
from cli.options import DEFAULT_URL, JsonOption, KeyOption, UrlOption
from cli.printing import print_json, print_table
from cli.running import talk

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

    async def show(client: Client) -> ExitCode:
        lasting = {"overlap_seconds": seconds(overlap, option="--overlap")}
        print_json(await client.ask(object, "POST", f"{path}/rotate", json=lasting))
        return ExitCode.OK

    talk(show, url, key)


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
    async def show(client: Client) -> ExitCode:
        shown = await client.ask(object, method, path, **options)
        if shown is not None:
            print_json(shown)
        return ExitCode.OK

    talk(show, url, key)


def _pages(
    path: str,
    columns: tuple[str, ...],
    url: str,
    key: str | None,
    as_json: bool,
    **options: object,
) -> None:
    async def show(client: Client) -> ExitCode:
        results = (await client.ask(dict[str, Any], "GET", path, **options))["results"]
        if as_json:
            print_json(results)
        else:
            print_table(columns, [_cells(result, columns) for result in results])
        return ExitCode.OK

    talk(show, url, key)


def _cells(result: dict[str, Any], columns: tuple[str, ...]) -> list[str]:
    cells = [result[column] for column in columns]
    return [" ".join(cell) if isinstance(cell, list) else str(cell) for cell in cells]
