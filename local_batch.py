"""Submit every picture of a folder and print where each result will be.

python local_batch.py [DIR=images] [--model OWNER/NAME] [--url URL] [--key KEY]
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.client import Client, models_of
from cli.errors import ItemFailed
from cli.exit_codes import ExitCode
from cli.images import find_images
from cli.options import DEFAULT_MODEL, DEFAULT_URL, KeyOption, ModelOption, UrlOption
from cli.running import for_each, run

AT_ONCE = 8


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of pictures.")] = Path(
        "images"
    ),
    model: ModelOption = DEFAULT_MODEL,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
) -> None:
    """Submit every picture of a folder; one line a picture: its name, a tab, its access link."""
    raise typer.Exit(run(_submit(folder, model, url, key), interrupted="Interrupted."))


async def _submit(folder: Path, model: str, url: str, key: str | None) -> ExitCode:
    models = [known.id for known in await models_of(url, key=key)]
    images = await asyncio.to_thread(find_images, folder, models)
    failed = []
    async with Client(url, key=key) as client:

        async def submit(image: Path) -> None:
            try:
                content = await asyncio.to_thread(image.read_bytes)
                prediction = await client.submit(content, {"model": model})
            except (ItemFailed, OSError) as error:
                failed.append(f"{image}: {error}")
            else:
                line = f"{image}\t{prediction.access_link}\n"
                sys.stdout.buffer.write(os.fsencode(line))  # a file's name need not be text
                sys.stdout.flush()

        await for_each(images, submit, at_once=AT_ONCE)
    for line in failed:
        print(line, file=sys.stderr)
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


if __name__ == "__main__":
    typer.run(main)
