"""`darkroom batch`: caption or transform every picture of a folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from cli.captions_file import CaptionsFile
from cli.client import Client, Model, models_of
from cli.errors import ItemFailed, UsageWrong
from cli.exit_codes import ExitCode
from cli.images import find_images
from cli.options import DEFAULT_URL, KeyOption, ModelOption, UrlOption
from cli.report import Report
from cli.running import for_each, run
from cli.sidecars import ImageSidecars, Keeper, TextSidecars
from common.job import JobState, Priority

CANCEL_S = 5.0  # for telling the server about an interrupt


class Out(StrEnum):
    """What becomes of the results."""

    TXT = "txt"
    JSONL = "jsonl"
    IMAGES = "images"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line asks for."""

    folder: Path
    model: str
    prompt: str | None
    priority: Priority
    out: Out | None  # None: by what the model makes
    overwrite: bool
    concurrency: int
    url: str
    key: str | None
    as_json: bool
    quiet: bool

    @property
    def fields(self) -> dict[str, str]:
        """The form's fields beside the picture."""
        fields = {"model": self.model, "priority": self.priority.value}
        return fields if self.prompt is None else {**fields, "prompt": self.prompt}


def batch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of pictures.")],
    model: ModelOption,
    prompt: Annotated[str | None, typer.Option(help="What to do, or what to ask.")] = None,
    out: Annotated[
        Out | None,
        typer.Option(
            help="photo.txt beside photo.jpg, one captions.jsonl, or photo.MODEL.png. "
            "By default txt or images, as the model makes texts or pictures."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do finished pictures again.")
    ] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Jobs at a time.")] = 8,
    priority: Annotated[Priority, typer.Option(help="How urgent it is.")] = Priority.NORMAL,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="A summary on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Caption or transform every picture of a folder and of the folders in it.

    Finished pictures are skipped, so an interrupted batch goes on where it stopped.
    """
    wish = Wish(
        folder=folder,
        model=model,
        prompt=prompt,
        priority=priority,
        out=out,
        overwrite=overwrite,
        concurrency=concurrency,
        url=url,
        key=key,
        as_json=as_json,
        quiet=quiet,
    )
    advice = (
        "Interrupted. The same command begins again; without --overwrite it does what is missing."
        if overwrite
        else "Interrupted. The same command goes on: what is finished is not done again."
    )
    raise typer.Exit(run(_batch(wish), interrupted=advice))


async def _batch(wish: Wish) -> ExitCode:
    models = await models_of(wish.url, key=wish.key)
    model = _entry(wish.model, models)
    makes = model.makes if model.task else None
    names = [model.id for model in models]
    images = await asyncio.to_thread(find_images, wish.folder, names)
    keeper = await asyncio.to_thread(_keeper, wish, makes, images)
    left = images if wish.overwrite else [i for i in images if not keeper.finished(i)]
    skipped = len(images) - len(left)
    report = Report(wish.folder, total=len(images), skipped=skipped, quiet=wish.quiet)
    try:
        async with Client(wish.url, key=wish.key) as client:
            with report:
                work = Work(client, keeper, report, wish.fields)
                await work.on(left, at_once=wish.concurrency)
    finally:
        report.tell(as_json=wish.as_json)
    return report.exit_code


def _entry(name: str, models: Sequence[Model]) -> Model:
    for model in models:
        if model.id == name:
            return model
    known = ", ".join(model.id for model in models)
    raise UsageWrong(f"There is no model {name!r}. Known models: {known or 'none'}.")


def _keeper(wish: Wish, makes: str | None, images: Sequence[Path]) -> Keeper:
    if not os.access(wish.folder, os.W_OK):
        raise UsageWrong(f"{wish.folder} may not be written to: change its rights, or copy it")
    out = wish.out or (Out.IMAGES if makes == "image" else Out.TXT)
    if makes is not None and (out is Out.IMAGES) != (makes == "image"):
        fitting = "images" if makes == "image" else "txt or jsonl"
        raise UsageWrong(f"{wish.model} makes {makes}s: use --out {fitting}")
    if out is Out.JSONL:
        return CaptionsFile(wish.folder, wish.model)
    return ImageSidecars(images, wish.model) if out is Out.IMAGES else TextSidecars(images)


class Work:
    """Pictures on their way: submitted, waited for, kept."""

    def __init__(
        self, client: Client, keeper: Keeper, report: Report, fields: dict[str, str]
    ) -> None:
        self._client, self._keeper, self._report, self._fields = client, keeper, report, fields
        self._in_flight: set[str] = set()

    async def on(self, images: Sequence[Path], *, at_once: int) -> None:
        """All of them. When it is stopped, the jobs in flight are canceled."""
        try:
            await for_each(images, self._one, at_once=at_once)
        finally:
            await self._cancel_in_flight()
            await asyncio.to_thread(self._keeper.close)

    async def _one(self, image: Path) -> None:
        try:
            await self._made_of(image)
        except OSError as error:
            await self._failed(image, ItemFailed(str(error), "file_error"))
        except ItemFailed as error:
            await self._failed(image, error)
        else:
            self._report.done()

    async def _failed(self, image: Path, error: ItemFailed) -> None:
        self._report.failed(image, error)
        with suppress(OSError):  # the report has it
            await asyncio.to_thread(self._keeper.keep_error, image, error)

    async def _made_of(self, image: Path) -> None:
        """Raises ItemFailed; OSError if the picture cannot be read or the result not written."""
        content = await asyncio.to_thread(image.read_bytes)
        prediction = await self._client.submit(content, self._fields)
        self._in_flight.add(prediction.id)
        prediction = await self._client.ended(prediction, waits=self._report.waits)
        self._in_flight.discard(prediction.id)
        if prediction.status is not JobState.SUCCEEDED:
            reason = prediction.error or f"the job was {prediction.status}"
            raise ItemFailed(reason, prediction.error_code or prediction.status)
        result = await self._client.result(prediction)
        await asyncio.to_thread(self._keeper.keep, image, result, prediction.id)

    async def _cancel_in_flight(self) -> None:
        """As far as the server can be reached: what goes on there costs time, no more."""
        cancels = [asyncio.create_task(self._cancel(id)) for id in self._in_flight]
        if cancels:
            _, late = await asyncio.wait(cancels, timeout=CANCEL_S)
            for task in late:
                task.cancel()

    async def _cancel(self, id: str) -> None:
        with suppress(httpx2.TransportError):
            await self._client.cancel(id)
