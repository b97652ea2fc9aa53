"""What a batch leaves beside the pictures, and which pictures are finished by it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cli.client import Result
from cli.errors import ItemFailed
from cli.whole_file import write_whole

EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
}


class Keeper(ABC):
    """Keeps results. Its calls block; they may come from several threads."""

    @abstractmethod
    def finished(self, image: Path) -> bool:
        """Whether a result for this picture is there already."""

    @abstractmethod
    def keep(self, image: Path, result: Result, id: str) -> None:
        """Keep what job `id` made of it. Raises ItemFailed for a result of the wrong kind, OSError.

        Replaces a result that is there, so ask `finished` first.
        """

    @abstractmethod
    def keep_error(self, image: Path, error: ItemFailed) -> None:
        """Note that it failed, where there is a place for that. Raises OSError."""

    @abstractmethod
    def close(self) -> None:
        """Nothing is kept after this. Raises OSError."""


class Sidecars(Keeper):
    """A file of its own for each result."""

    def __init__(self, images: Sequence[Path]) -> None:
        self._bases = bases(images)

    def keep_error(self, image: Path, error: ItemFailed) -> None:
        """Nothing: a sidecar holds a result."""

    def close(self) -> None:
        """Nothing: each sidecar was written whole."""


class TextSidecars(Sidecars):
    """`photo.txt` beside `photo.jpg`: the caption and a line's end."""

    def finished(self, image: Path) -> bool:
        return self._path(image).exists()

    def keep(self, image: Path, result: Result, id: str) -> None:  # noqa: ARG002
        write_whole(self._path(image), f"{caption_of(result)}\n".encode())

    def _path(self, image: Path) -> Path:
        return image.with_name(f"{self._bases[image]}.txt")


class ImageSidecars(Sidecars):
    """`photo.MODEL.png` beside `photo.jpg`, with the extension of the result's true type."""

    def __init__(self, images: Sequence[Path], model: str) -> None:
        super().__init__(images)
        self._maker = model.rpartition("/")[2]

    def finished(self, image: Path) -> bool:
        return any(self._path(image, extension).exists() for extension in EXTENSIONS.values())

    def keep(self, image: Path, result: Result, id: str) -> None:  # noqa: ARG002
        extension = EXTENSIONS.get(result.content_type)
        if extension is None:
            raise ItemFailed(
                f"the result is {result.content_type}, not a picture: use --out txt or jsonl",
                "not_a_picture",
            )
        write_whole(self._path(image, extension), result.content)
        for other in {*EXTENSIONS.values()} - {extension}:
            self._path(image, other).unlink(missing_ok=True)

    def _path(self, image: Path, extension: str) -> Path:
        return image.with_name(f"{self._bases[image]}.{self._maker}.{extension}")


def caption_of(result: Result) -> str:
    """The text of a result. Raises ItemFailed."""
    if not result.content_type.startswith("text/"):
        raise ItemFailed(
            f"the result is {result.content_type}, not a text: use --out images", "not_a_text"
        )
    return result.content.decode("utf-8", "replace")


def bases(images: Sequence[Path]) -> dict[Path, str]:
    """What the names of a picture's sidecars begin with: `photo` for `photo.jpg`.

    Pictures that would share it (`photo.jpg`, `photo.png`) all keep their whole name instead:
    no sidecar may be taken for another picture's. Upper and lower case count as the same.
    """
    chosen = {image: image.stem for image in images}
    while True:
        uses = Counter(_place(image, base) for image, base in chosen.items())
        shared = [
            image
            for image, base in chosen.items()
            if base != image.name and uses[_place(image, base)] > 1
        ]
        if not shared:
            return chosen
        chosen.update((image, image.name) for image in shared)


def _place(image: Path, base: str) -> tuple[Path, str]:
    return image.parent, base.casefold()
