"""`darkroom submit`: one job, with every hold that a request may have."""

from __future__ import annotations

import json
import uuid
from asyncio import to_thread
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import Client
from cli.errors import UsageWrong
from cli.exit_codes import ExitCode
from cli.moments import span
from cli.options import DEFAULT_URL, JsonOption, KeyOption, ModelOption, UrlOption
from cli.predictions import Prediction, print_prediction
from cli.printing import print_json
from cli.running import talk
from common.job import JobState, Priority, is_url

_REPLY_S = 30.0  # for the reply, beside the time that it waits for the result


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line asks for."""

    image: str | None  # a path or a URL
    body: dict[str, Any]
    cancel_after: str | None
    wait: int | None  # seconds
    idempotency_key: str

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Idempotency-Key": self.idempotency_key}
        if self.cancel_after is not None:
            headers["Cancel-After"] = self.cancel_after
        if self.wait is not None:
            headers["Prefer"] = f"wait={self.wait}"
        return headers


def submit(
    model: ModelOption,
    image: Annotated[
        str | None, typer.Argument(metavar="[IMAGE]", help="A file, or a URL that is fetched.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="What to do, or what to ask.")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter; again for several."),
    ] = None,
    priority: Annotated[Priority, typer.Option(help="How urgent it is.")] = Priority.NORMAL,
    label: Annotated[
        list[str] | None, typer.Option(help="To filter by; again for several.")
    ] = None,
    start_by: Annotated[
        str | None, typer.Option(metavar="10m|TIME", help="Cancel it if not started by then.")
    ] = None,
    cancel_after: Annotated[
        str | None, typer.Option(metavar="30s", help="Cancel it if not done after so long.")
    ] = None,
    webhook: Annotated[str | None, typer.Option(metavar="URL", help="Whom to tell.")] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(help="Of what: start, output, logs, completed; again for several."),
    ] = None,
    reuse: Annotated[
        bool | None, typer.Option("--reuse/--no-reuse", help="Whether an earlier result will do.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Sent twice with the same key, it is one job.")
    ] = None,
    wait: Annotated[
        int | None, typer.Option(min=1, max=60, metavar="SECONDS", help="Wait for the result.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Submit one prediction."""

    async def work(client: Client) -> ExitCode:
        asked = {
            "model": model,
            "input": _parameters(prompt, parameter or []),
            "priority": priority.value,
            "labels": label,
            "start_by": None if start_by is None else span(start_by) or start_by,
            "webhook": webhook,
            "webhook_events_filter": event,
            "reuse": reuse,
        }
        wish = Wish(
            image=image,
            body={name: value for name, value in asked.items() if value is not None},
            cancel_after=cancel_after,
            wait=wait,
            idempotency_key=idempotency_key or uuid.uuid4().hex,
        )
        made = await _submit(client, wish)
        print_json(made) if as_json else print_prediction(made, link=True)
        state = JobState(made["status"])
        failed = state.terminal and state is not JobState.SUCCEEDED
        return ExitCode.SOME_FAILED if failed else ExitCode.OK

    talk(work, url, key, interrupted="Interrupted: what was accepted goes on.")


async def _submit(client: Client, wish: Wish) -> Prediction:
    """Raises ItemFailed for what is refused."""
    body: dict[str, Any]
    if wish.image is None or is_url(wish.image):
        given = {} if wish.image is None else {"image": wish.image}
        body = {"json": {**wish.body, "input": {**wish.body["input"], **given}}}
    else:
        picture = await to_thread(_read, Path(wish.image))
        fields = {name: _field(value) for name, value in wish.body.items()}
        body = {"data": fields, "files": {"image": ("image", picture, "application/octet-stream")}}
    patience = _REPLY_S + (wish.wait or 0)
    return await client.ask(
        Prediction, "POST", "/v1/predictions", headers=wish.headers, timeout=patience, **body
    )


def _parameters(prompt: str | None, assignments: list[str]) -> dict[str, Any]:
    """Values are JSON where they read as such, and else text."""
    found: dict[str, Any] = {} if prompt is None else {"prompt": prompt}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise UsageWrong(f"--set {assignment}: say NAME=VALUE, as in max_new_tokens=32")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def _field(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageWrong(f"{path}: {error.strerror}") from error
