"""`darkroom webhook-listen`: a receiver on this machine that verifies webhooks and prints them."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.client import FIRST_PATIENCE_S, Client
from cli.errors import UsageWrong
from cli.exit_codes import ExitCode
from cli.options import DEFAULT_URL, KeyOption, UrlOption
from cli.running import run
from common.processes import stop_at_signal

if TYPE_CHECKING:
    from standardwebhooks import Webhook

DEFAULT_PORT = 9000
_FIX = "a registered webhook signs with a secret of its own: give that as --secret"
_MOST_BYTES = 1_000_000  # of a body: ours have 20,000


def webhook_listen(
    port: Annotated[int, typer.Option(min=1, max=65535)] = DEFAULT_PORT,
    secret: Annotated[
        str | None,
        typer.Option(
            envvar="DARKROOM_WEBHOOK_SECRET",
            help="whsec_...; without it the server's own, which signs what predictions name.",
        ),
    ] = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Receive webhooks at http://127.0.0.1:PORT, verify each, and print it as a line of JSON."""
    raise typer.Exit(run(_listen(port, secret, url, key), interrupted="Stopped."))


async def _listen(port: int, secret: str | None, url: str, key: str | None) -> ExitCode:
    import uvicorn
    from standardwebhooks import Webhook

    if secret is None:
        async with Client(url, key=key, patience=FIRST_PATIENCE_S) as client:
            secret = (await client.ask(dict[str, str], "GET", "/v1/webhooks/default/secret"))["key"]
    try:
        base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        webhook = Webhook(secret)
    except (ValueError, RuntimeError) as error:
        raise UsageWrong("--secret: give whsec_ and base64, as the server showed it") from error
    config = uvicorn.Config(
        _receiver(webhook), port=port, log_config=None, lifespan="off", interface="asgi3"
    )
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext  # type: ignore[assignment]  # Ctrl-C is handled here
    stop = stop_at_signal()
    where = f"http://127.0.0.1:{port}"
    typer.echo(f"Listening at {where}: give it as `webhook`. Stop with Ctrl-C.", err=True)

    async def leave() -> None:
        await stop.wait()
        server.should_exit = True

    leaving = asyncio.create_task(leave())
    try:
        await server.serve()
    except SystemExit as error:
        raise UsageWrong(f"--port {port}: something listens there already") from error
    finally:
        leaving.cancel()
    return ExitCode.OK


def _receiver(webhook: Webhook) -> Any:
    from standardwebhooks import WebhookVerificationError

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more and len(body) <= _MOST_BYTES:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        try:
            told = webhook.verify(body, headers)
        except (WebhookVerificationError, ValueError) as error:
            status = 401
            line = {"verified": False, "reason": f"{error}: {_FIX}"}
        else:
            status = 204
            event = headers.get("darkroom-event", "")
            line = {"verified": True, "id": headers["webhook-id"], "event": event, "body": told}
        print(json.dumps(line), flush=True)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app
