"""`darkroom watch`: prints what happens to jobs, as it happens."""

from __future__ import annotations

import time
from typing import Annotated, Any

import httpx2
import msgspec
import typer

from cli.client import PATIENCE_S, Client
from cli.event_stream import follow
from cli.exit_codes import ExitCode
from cli.options import DEFAULT_URL, KeyOption, UrlOption
from cli.predictions import place
from cli.running import talk

_LONGEST_DETAIL = 200  # characters


def watch(
    job: Annotated[
        str | None, typer.Argument(metavar="ID", help="A prediction. Without it: all of yours.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The whole prediction with each event, as a JSON line.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Print events as they come, until the prediction has ended, or Ctrl-C."""
    path = "/v1/events" if job is None else f"/v1/predictions/{job}/events"

    async def work(client: Client) -> ExitCode:
        async for event in follow(client, path):
            prediction = msgspec.json.decode(event.data)
            print(_json(event) if as_json else _line(event.event, prediction), flush=True)
            if job is not None and event.event == "completed":
                succeeded = prediction["status"] == "succeeded"
                return ExitCode.OK if succeeded else ExitCode.SOME_FAILED
        return ExitCode.OK

    talk(work, url, key, patience=PATIENCE_S)


def _json(event: httpx2.ServerSentEvent) -> str:
    said = {"event": event.event, "id": event.id, "data": msgspec.Raw(event.data.encode())}
    return msgspec.json.encode(said).decode()


def _line(event: str, prediction: dict[str, Any]) -> str:
    detail = _detail(event, prediction).replace("\n", " ")
    if len(detail) > _LONGEST_DETAIL:
        detail = detail[: _LONGEST_DETAIL - 1] + "…"
    words = (f"{time.strftime('%H:%M:%S')}", f"{event:<9}", prediction["id"], prediction["status"])
    return "  ".join((*words, detail)).rstrip()


def _detail(event: str, prediction: dict[str, Any]) -> str:
    """What is worth a look: the place in the queue, how far it is, what came of it."""
    if event in ("output", "completed"):
        output = prediction["output"]
        text = output if isinstance(output, str) else msgspec.json.encode(output).decode()
        return str(prediction["error"] or (text if output is not None else ""))
    if prediction["status"] == "starting":
        return place(prediction["queue"])
    lines = prediction["logs"].splitlines()
    return lines[-1].strip() if lines else ""
