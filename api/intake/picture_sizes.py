"""Width and height as an image's header says them, read from a few bytes at known places.

Each function raises struct.error where the file ends too early, and ValueError where the header
makes no sense. JPEG's size lies on the way to its pixels: picture_structure.py finds it.
"""

from __future__ import annotations

import struct

Size = tuple[int, int]  # width, height in px

_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})  # bytes
_WIDTH, _HEIGHT = 256, 257  # TIFF's tags
_TIFF_TYPES = {3: "H", 4: "I", 16: "Q"}  # that a size may have
_MOST_TAGS = 4096  # before them; cameras write a few dozen


def png_size(content: bytes) -> Size:
    """From IHDR, which is the first chunk."""
    name, width, height = struct.unpack_from(">4sII", content, 12)
    if name != b"IHDR":
        raise ValueError("IHDR is not first")
    return width, height


def webp_size(content: bytes) -> Size:
    """The canvas of an extended file, the frame of a simple one."""
    kind = content[12:16]
    if kind == b"VP8X":
        low, middle, bottom, high = struct.unpack_from("<HBHB", content, 24)
        return (middle << 16 | low) + 1, (high << 16 | bottom) + 1
    if kind == b"VP8L":
        signature, bits = struct.unpack_from("<BI", content, 20)
        if signature != 0x2F:
            raise ValueError("no lossless frame")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        start, width, height = struct.unpack_from("<3sHH", content, 23)
        if start != b"\x9d\x01\x2a":
            raise ValueError("no key frame")
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("no frame")


def gif_size(content: bytes, image: int) -> Size:
    """The screen, and the first frame (described at `image`) where that reaches beyond it."""
    width, height = struct.unpack_from("<HH", content, 6)
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", content, image + 1)
    return max(width, left + frame_width), max(height, top + frame_height)


def bmp_size(content: bytes) -> Size:
    """A height below zero means that the rows run downwards."""
    (header,) = struct.unpack_from("<I", content, 14)
    if header not in _BMP_HEADERS:
        raise ValueError("no header of BMP")
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", content, 18)
    return abs(width), abs(height)


def tiff_size(content: bytes) -> Size:
    """From the first directory, of a classic file or of a BigTIFF."""
    order = "<" if content.startswith(b"II") else ">"
    large = 43 in content[2:4]
    (at,) = struct.unpack_from(order + ("Q" if large else "I"), content, 8 if large else 4)
    (count,) = struct.unpack_from(order + ("Q" if large else "H"), content, at)
    if count > _MOST_TAGS:
        raise ValueError("too many tags")
    entry = struct.Struct(order + ("HHQ8s" if large else "HHI4s"))
    at += 8 if large else 2
    sides: dict[int, int] = {}
    for number in range(count):
        tag, kind, _, value = entry.unpack_from(content, at + number * entry.size)
        if tag in (_WIDTH, _HEIGHT) and kind in _TIFF_TYPES:
            (side,) = struct.unpack_from(order + _TIFF_TYPES[kind], value)
            sides.setdefault(tag, side)
    if len(sides) < 2:
        raise ValueError("no width or no height")
    return sides[_WIDTH], sides[_HEIGHT]
