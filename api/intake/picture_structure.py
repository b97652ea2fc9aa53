"""The skeleton of image files: which kind they are, how large, and whether they are whole.

Only markers and lengths are read. How many blocks may stand before the first pixels is bounded,
so that no file keeps a parser busy for seconds.
"""

from __future__ import annotations

import struct

from api.intake.picture_sizes import Size, bmp_size, gif_size, png_size, tiff_size, webp_size
from api.problems import Problem

_MAX_BLOCKS = 10_000  # before the first pixels; files of the wild have a few hundred at most
_SHORT = struct.Struct(">H")
_LONG = struct.Struct(">I")
_SIDES = struct.Struct(">HH")
_SCAN, _END_OF_IMAGE = 0xDA, b"\xff\xd9"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_NO_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER = 0x21, 0x2C, b";"
_WITHOUT_END = ("BMP", "TIFF")
_PADDING = b"\0\r\n "  # that some programs leave after a GIF's trailer


def kind_of(content: bytes) -> str | None:
    """Pillow's name of the format that the first bytes promise."""
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WEBP"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if content.startswith(b"BM"):
        return "BMP"
    if content.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    return None


def check_structure(content: bytes, kind: str) -> Size:
    """Width and height.

    Raises Problem `truncated_image` if the end is missing, `not_an_image` if it makes no sense.
    BMP and TIFF have no end to look for: what is missing there shows when they are decoded.
    """
    try:
        whole, size = _read(content, kind)
    except (IndexError, struct.error) as error:  # a length that points past the end
        if kind in _WITHOUT_END:
            raise _nonsense(kind) from error
        whole, size = False, (0, 0)
    except ValueError as error:
        raise _nonsense(kind) from error
    if not whole:
        raise Problem("truncated_image", f"The {kind} ends too early: send the whole file.")
    if 0 in size:
        raise _nonsense(kind)
    return size


def _read(content: bytes, kind: str) -> tuple[bool, Size]:
    """Whether the end is there, and the size."""
    if kind == "JPEG":
        scan, size = _jpeg_scan(content)
        return content.rfind(_END_OF_IMAGE, scan) >= 0, size
    if kind == "PNG":
        pixels = _png_pixels(content)
        return content.rfind(b"IEND", pixels) >= 0, png_size(content)
    if kind == "WEBP":
        return len(content) >= 8 + int.from_bytes(content[4:8], "little"), webp_size(content)
    if kind == "GIF":
        size = gif_size(content, _gif_image(content))
        return content[-64:].rstrip(_PADDING).endswith(_GIF_TRAILER), size
    return True, bmp_size(content) if kind == "BMP" else tiff_size(content)


def _jpeg_scan(content: bytes) -> tuple[int, Size]:
    """Where the first scan begins, and the width and height that the frame's header says."""
    at, size = 2, (0, 0)
    for _ in range(_MAX_BLOCKS):
        if content[at] != 0xFF:  # what some cameras leave between segments
            at += 1
            continue
        marker = content[at + 1]
        if marker == _SCAN:
            return at, size
        if marker == 0xFF:  # padding before a marker
            at += 1
        elif marker in _NO_LENGTH:
            at += 2
        else:
            if marker in _FRAMES:
                height, width = _SIDES.unpack_from(content, at + 5)
                size = width, height
            at += 2 + _SHORT.unpack_from(content, at + 2)[0]
    raise _nonsense("JPEG")


def _png_pixels(content: bytes) -> int:
    """Where the first chunk of pixels begins."""
    at = 8
    for _ in range(_MAX_BLOCKS):
        (length,) = _LONG.unpack_from(content, at)
        if content[at + 4 : at + 8] == b"IDAT":
            return at
        at += 12 + length
    raise _nonsense("PNG")


def _gif_image(content: bytes) -> int:
    """Where the first frame begins."""
    at = 13 + _gif_colors(content[10])
    blocks = 0
    while content[at] != _GIF_IMAGE:
        if content[at] != _GIF_EXTENSION:
            raise _nonsense("GIF")
        at += 2
        while content[at] and blocks < _MAX_BLOCKS:
            at += 1 + content[at]
            blocks += 1
        at += 1
        blocks += 1
        if blocks >= _MAX_BLOCKS:
            raise _nonsense("GIF")
    return at


def _gif_colors(flags: int) -> int:
    """Bytes of the global colour table."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _nonsense(kind: str) -> Problem:
    return Problem("not_an_image", f"This begins like a {kind} and goes on as something else.")
