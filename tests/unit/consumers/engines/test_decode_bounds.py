from __future__ import annotations

import contextlib
import io
import resource
import struct
import threading
import zlib

import pytest
from PIL import Image

from common.errors import BadInput
from consumers.engines.decode_bounds import bounded
from consumers.engines.images import decode

PIXELS = 40_000_000


def test_what_takes_too_long_is_refused_however_it_catches_errors() -> None:
    def work() -> None:
        while True:
            with contextlib.suppress(Exception):
                sum(range(1000))

    with pytest.raises(BadInput, match=r"more than 0\.2 s"), bounded(PIXELS, cpu_seconds=0.2):
        work()


def test_what_takes_too_much_memory_is_refused_and_later_work_has_it_again() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(BadInput, match="MiB to decode"), bounded(1):
        bytearray(2**30)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert len(bytearray(2**30)) == 2**30


def test_another_thread_may_decode_too() -> None:
    seen = []

    def work() -> None:
        with bounded(PIXELS):
            seen.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]


def test_a_jpeg_of_scans_without_end_is_given_up() -> None:
    """Each of them has 90 bytes and touches every pixel: a small file would take hours."""
    buffer = io.BytesIO()
    Image.new("L", (2000, 2000), 128).save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    end = whole.rindex(b"\xff\xd9")
    scan = whole[whole.rindex(b"\xff\xc4", 0, whole.rindex(b"\xff\xda")) : end]
    content = whole[:end] + scan * 100_000 + whole[end:]
    with pytest.raises(BadInput, match="more than 1 s to decode"):
        decode(content, max_pixels=PIXELS, cpu_seconds=1)


def test_a_tile_larger_than_any_picture_is_refused() -> None:
    body = zlib.compress(bytes(1000))
    tags = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    tags += [(322, 4, 1, 46_000), (323, 4, 1, 46_000), (324, 4, 1, 122), (325, 4, 1, len(body))]
    content = b"II*\0" + struct.pack("<IH", 8, len(tags))
    content += b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4) + body
    with pytest.raises(BadInput, match="46000x46000 px"):
        decode(content, max_pixels=PIXELS)
