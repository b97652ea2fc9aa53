"""`darkroom monitor`: queues, workers, rates and failures on a page of the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from cli.client import Client
from cli.errors import CommandFailed, UsageWrong
from cli.exit_codes import ExitCode
from cli.options import DEFAULT_URL, KeyOption, UrlOption
from cli.running import run

if TYPE_CHECKING:
    from cli.monitoring.page import Page

console = Console(stderr=True)


def monitor(url: UrlOption = DEFAULT_URL, key: KeyOption = None) -> None:
    """See queues, workers, rates and failures as they change. ? explains it, q ends it."""
    try:
        from cli.monitoring.page import Page
    except ModuleNotFoundError as error:
        console.print(
            "textual is not installed: pip install 'darkroom[tui]'", style="red", markup=False
        )
        raise typer.Exit(ExitCode.USAGE) from error
    raise typer.Exit(run(_show(Page, url, key), interrupted="Interrupted."))


async def _show(page: type[Page], url: str, key: str | None) -> ExitCode:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageWrong(
            f"This page needs a terminal. The same as JSON: curl {url.rstrip('/')}/v1/activity"
        )
    async with Client(url, key=key) as client:
        ended = await page(client, url).run_async()
    if isinstance(ended, CommandFailed):
        raise ended
    return ExitCode.SOME_FAILED if ended is None else ended  # None: it broke, and has said so
