"""Waiting for a dependency to come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import stamina

from common.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

_again = stamina.AsyncRetryingCaller(attempts=None, timeout=None, wait_max=10.0).on(Unavailable)


async def until_available(act: Callable[P, Awaitable[T]], *args: P.args, **options: P.kwargs) -> T:
    """Call, and again while a dependency does not answer: 0.1 s later at first, 10 s at most.

    For work that must not be lost and has nobody waiting who could be told.
    """
    try:  # costs nothing, unlike what is ready to try again; and almost always it is all
        return await act(*args, **options)
    except Unavailable as error:
        failures = [error]

    async def again() -> T:
        if failures:
            raise failures.pop()
        return await act(*args, **options)

    return await _again(again)
