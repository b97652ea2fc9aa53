"""A table of runs: model;seconds;MiB, a row a call, appended to a file. Off without a file."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def benchmark(
    file: Path | None, model: str, memory_mib: Callable[[], float]
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Wrap an async function so that each call that returns adds its row to `file`."""

    def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        if file is None:
            return function

        @wraps(function)
        async def measured(*args: P.args, **kwargs: P.kwargs) -> R:
            began = time.perf_counter()
            result = await function(*args, **kwargs)
            row = f"{model};{time.perf_counter() - began:.6f};{memory_mib():.1f}\n"
            with file.open("a", encoding="utf-8") as table:
                table.write(row)
            return result

        return measured

    return decorate
