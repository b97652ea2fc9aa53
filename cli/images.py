"""Which files of a folder are pictures to work on."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from cli.errors import UsageWrong

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


def find_images(folder: Path, models: Collection[str] = ()) -> list[Path]:
    """The pictures in `folder` and below, in order; hidden ones are passed over.

    So are results that an earlier run put beside its inputs: `photo.MODEL.png` of `photo.jpg`,
    for each last part of a name in `models`. Raises UsageWrong if nothing is left.
    """
    if not folder.is_dir():
        raise UsageWrong(f"{folder} is not a folder: name one that holds pictures")
    makers = {model.rpartition("/")[2] for model in models}
    found = []
    for path, folders, files in os.walk(folder, onerror=_cannot_read):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = sorted(name for name in files if _is_picture(name) and Path(path, name).is_file())
        sources = {*names, *(Path(name).stem for name in names)}
        found += [Path(path, name) for name in names if not _is_result(name, sources, makers)]
    if not found:
        raise UsageWrong(
            f"{folder} holds no pictures: put some there ({', '.join(sorted(SUFFIXES))})"
        )
    return found


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def _is_result(name: str, sources: Collection[str], makers: Collection[str]) -> bool:
    stem = Path(name).stem
    return any(
        stem.endswith(f".{maker}") and stem.removesuffix(f".{maker}") in sources for maker in makers
    )


def _cannot_read(error: OSError) -> None:
    raise UsageWrong(f"{error.filename} cannot be read: {error.strerror}") from error
