"""Where what was built once is kept: `${XDG_CACHE_HOME:-~/.cache}/darkroom`."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_root() -> Path:
    """The cache folder, made if it is not there."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(base) / "darkroom"
    root.mkdir(parents=True, exist_ok=True)
    return root


def cached(name: str) -> Path | None:
    """The folder of a finished build, or None."""
    folder = cache_root() / name
    return folder if folder.is_dir() else None


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold `name` against every other process; the kernel lets go of it if this one dies."""
    with open(cache_root() / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_once(name: str, build: Callable[[Path, Path], None]) -> Path:
    """The folder `name`, made by `build(folder, log)` if no process has made it yet.

    `build` fills a folder that gets its name only when it is finished, so that a build which was
    cut short never counts. Whatever `build` raises passes through.
    """
    found = cached(name)
    if found is not None:
        return found
    with locked(name):
        final = cache_root() / name
        if final.is_dir():
            return final
        partial = cache_root() / f"{name}.partial"
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir()
        log = cache_root() / f"{name}.log"
        log.unlink(missing_ok=True)
        build(partial, log)
        partial.rename(final)
        return final
