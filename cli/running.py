"""From a coroutine to an exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, NoReturn, TypeVar

import stamina.instrumentation
import typer
from rich.console import Console

from cli.client import FIRST_PATIENCE_S, Client
from cli.errors import CommandFailed, ItemFailed, UsageWrong
from cli.exit_codes import ExitCode

T = TypeVar("T")


def run(command: Coroutine[Any, Any, ExitCode], *, interrupted: str) -> ExitCode:
    """Run a command to its end. Ctrl-C cancels it, lets it clean up, and says `interrupted`."""
    stamina.instrumentation.set_on_retry_hooks([])  # they would log between our own lines
    console = Console(stderr=True)
    try:
        return asyncio.run(command)
    except KeyboardInterrupt:
        console.print(interrupted, soft_wrap=True, markup=False, highlight=False)
        return ExitCode.INTERRUPTED
    except CommandFailed as error:
        console.print(str(error), style="red", soft_wrap=True, markup=False, highlight=False)
        return error.exit_code
    except OSError as error:
        console.print(str(error), style="red", soft_wrap=True, markup=False, highlight=False)
        return ExitCode.SOME_FAILED


def talk(
    work: Callable[[Client], Awaitable[ExitCode]],
    url: str,
    key: str | None,
    *,
    interrupted: str = "Interrupted.",
    patience: float = FIRST_PATIENCE_S,
) -> NoReturn:
    """Do it with the server, and end the command; what the server refuses was wrongly asked."""

    async def talking() -> ExitCode:
        async with Client(url, key=key, patience=patience) as client:
            try:
                return await work(client)
            except ItemFailed as error:
                raise UsageWrong(str(error)) from error

    raise typer.Exit(run(talking(), interrupted=interrupted))


async def for_each(
    items: Iterable[T], work: Callable[[T], Awaitable[None]], *, at_once: int
) -> None:
    """`work` on every item, `at_once` at a time. The first error stops all and is raised."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
