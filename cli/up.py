"""`darkroom up`: the whole of Darkroom on this machine, one command."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import httpx2
import typer
from rich.console import Console

from cli.exit_codes import ExitCode
from common.errors import SettingsInvalid
from common.processes import end_with_parent, stop_at_signal
from common.settings import PROJECT, Settings, read_settings

# Consumers are not here: the scaler starts them when work arrives.
PROCESSES = (("api", "serve"), ("api", "record"), ("api", "notify"), ("scaler",))
AFTER_GRACE = 30.0  # seconds beyond the consumers' own grace before what is left is killed

Child = asyncio.subprocess.Process
console = Console(stderr=True)


def up() -> None:
    """Start all of Darkroom here, and stop it with Ctrl-C."""
    try:
        settings = read_settings()
    except SettingsInvalid as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(ExitCode.USAGE) from error
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        console.print(f"DARKROOM_DATA_DIR={settings.data_dir}: {error}", style="red", markup=False)
        raise typer.Exit(ExitCode.USAGE) from error
    raise typer.Exit(asyncio.run(_run(settings)))


async def _run(settings: Settings) -> int:
    if not _port_is_free(settings):
        console.print(
            f"Port {settings.port} of {settings.host} is taken: stop what listens there, or set "
            "DARKROOM_PORT to another.",
            style="red",
        )
        return ExitCode.USAGE
    stop = stop_at_signal()
    children = {" ".join(words): await _start(words) for words in PROCESSES}
    ends = {name: asyncio.create_task(child.wait()) for name, child in children.items()}
    stopped = asyncio.create_task(stop.wait())
    greeting = asyncio.create_task(_greet(settings))
    await asyncio.wait([stopped, *ends.values()], return_when=asyncio.FIRST_COMPLETED)
    greeting.cancel()
    stopped.cancel()
    failed = None if stop.is_set() else next(name for name, end in ends.items() if end.done())
    await _end(children, settings.grace_seconds + AFTER_GRACE)
    if failed:
        console.print(f"python -m {failed} ended by itself; its reason stands above.", style="red")
        return ExitCode.SERVER_UNAVAILABLE
    return ExitCode.OK


async def _start(words: tuple[str, ...]) -> Child:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *words),
        stdin=asyncio.subprocess.DEVNULL,
        preexec_fn=partial(end_with_parent, os.getpid(), signal.SIGTERM),
    )


async def _end(children: dict[str, Child], seconds: float) -> None:
    """SIGTERM to all; SIGKILL to what has not ended by then."""
    alive = [child for child in children.values() if child.returncode is None]
    for child in alive:
        child.terminate()
    if alive:
        waits = [asyncio.create_task(child.wait()) for child in alive]
        await asyncio.wait(waits, timeout=seconds)
        for child in alive:
            if child.returncode is None:
                child.kill()
        await asyncio.wait(waits)


async def _greet(settings: Settings) -> None:
    """Once the API is ready, say where it is and what to try."""
    async with httpx2.AsyncClient(base_url=_address(settings), trust_env=False) as client:
        while not await _ready(client):  # noqa: ASYNC110  another process decides
            await asyncio.sleep(0.1)
    print(greeting(settings), flush=True)


def greeting(settings: Settings) -> str:
    """Where it is, and what to try."""
    address = _address(settings)
    key = " -H 'Authorization: Bearer KEY'" if settings.auth_on else ""
    made_by = "\nKeys:      `darkroom keys create` makes one" if key else ""
    return f"""
Darkroom is ready at {address}   (Swagger: {address}/docs)
Try it:    curl -F image=@{_sample()} -F model=darkroom/shapes -H 'Prefer: wait=60'{key} \\
                {address}/v1/predictions{made_by}
Data in:   {settings.data_dir.resolve()}
Stop with Ctrl-C. What is queued then goes on at the next start.
"""


def _address(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _port_is_free(settings: Settings) -> bool:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE  # the API itself explains any other reason
    return True


def _sample() -> Path:
    """A picture to try, as one would type its path here."""
    sample = PROJECT / "images" / "one-shape.jpg"
    here = Path.cwd()
    return sample.relative_to(here) if sample.is_relative_to(here) else sample


async def _ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False
