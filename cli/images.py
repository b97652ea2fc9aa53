"""Which files of a folder are pictures to work on."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from cli.errors import UsageWrong

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


def find_images(folder: Path, models: Collection[str] = ()) -> list[Path]:
    """The pictures in `folder` and below, in order; hidden ones are passed over.

    Links that lead out of the folder are passed over too: whoever made the folder may have put
    them there, and what they lead to would be uploaded.

    So are results that an earlier run put beside its inputs: `photo.MODEL.png` of `photo.jpg`,
    for each last part of a name in `models`. Raises UsageWrong if nothing is left.
    """
    if not folder.is_dir():
        raise UsageWrong(f"{folder} is not a folder: name one that holds pictures")
    inside = folder.resolve()
    makers = {model.rpartition("/")[2] for model in models}
    found = []
    for path, folders, files in os.walk(folder, onerror=_cannot_read):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = sorted(
            name for name in files if _is_picture(name) and _is_inside(Path(path, name), inside)
        )
        sources = {*names, *(Path(name).stem for name in names)}
        found += [Path(path, name) for name in names if not _is_result(name, sources, makers)]
    if not found:
        raise UsageWrong(
            f"{folder} holds no pictures: put some there ({', '.join(sorted(SUFFIXES))}); links "
            "that lead out of it do not count"
        )
    return found


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def _is_inside(path: Path, folder: Path) -> bool:
    """A file, in the folder itself where the path is a link."""
    return path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(folder))


def _is_result(name: str, sources: Collection[str], makers: Collection[str]) -> bool:
    stem = Path(name).stem
    return any(
        stem.endswith(f".{maker}") and stem.removesuffix(f".{maker}") in sources for maker in makers
    )


def _cannot_read(error: OSError) -> None:
    raise UsageWrong(f"{error.filename} cannot be read: {error.strerror}") from error
