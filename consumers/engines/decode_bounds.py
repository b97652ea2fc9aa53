"""What decoding one picture may cost, whatever its bytes make a decoder do.

A few kilobytes can ask for hours (scans without end in a progressive JPEG) or for gigabytes (a
TIFF of one pixel in a tile of a billion). Sizes in headers do not show that, so time and memory
themselves are bounded.
"""

from __future__ import annotations

import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import BadInput

CPU_SECONDS = 30.0  # the slowest honest picture of 40 megapixels takes 3 to 10
_SPARE_BYTES = 512 * 1024 * 1024  # beside what follows from the pixels
_BYTES_PER_PIXEL = 32  # at the worst step: floats, their grey levels, and copies
_STATM_DATA = 5  # the field of /proc/self/statm that RLIMIT_DATA counts, in pages


class _TooLong(BaseException):
    """Beside Exception, so that no decoder takes it for a broken file and goes on."""


@contextmanager
def bounded(max_pixels: int, cpu_seconds: float = CPU_SECONDS) -> Iterator[None]:
    """Raises BadInput once what runs inside has cost too much. Only for one picture at a time."""
    memory = _SPARE_BYTES + _BYTES_PER_PIXEL * max_pixels
    with _memory_bounded(memory), _time_bounded(cpu_seconds):
        yield


@contextmanager
def _time_bounded(seconds: float) -> Iterator[None]:
    """By the processor's time, which a busy or sleeping machine does not use up.

    Noticed between two steps of Python; only its main thread can be interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    running = True

    def interrupt(*_: object) -> None:
        if running:
            raise _TooLong

    before = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        yield
    except _TooLong:
        raise BadInput(
            f"The picture takes more than {seconds:g} s to decode: save it anew with another "
            "program, and send that."
        ) from None
    finally:
        running = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def _memory_bounded(most: int) -> Iterator[None]:
    """By the kernel, where it counts memory for this (Linux)."""
    if sys.platform != "linux":
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    bounds = [bound for bound in before if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([_data_bytes() + most, *bounds]), before[1]))
    try:
        yield
    except MemoryError:
        raise BadInput(
            f"The picture takes more than {most // 2**20} MiB to decode: save it anew with "
            "another program, and send that."
        ) from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _data_bytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[_STATM_DATA]) * resource.getpagesize()
