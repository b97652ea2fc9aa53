"""What some tests need of the machine that they run on."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest


def lacking(what: str) -> NoReturn:
    """Skip the test, and say why. With EVERY_TEST set it fails instead."""
    if os.environ.get("EVERY_TEST"):
        pytest.fail(f"every test is to run, and {what}")
    pytest.skip(what)


@contextmanager
def low_ports() -> Iterator[None]:
    """The turn of this test to listen on ports that URLs mean by themselves.

    The suite runs in several processes, and two of them cannot have such a port at once.
    """
    with Path(tempfile.gettempdir(), f"darkroom-low-ports-{os.getuid()}").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield
