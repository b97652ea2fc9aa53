"""Files that are meant to hurt: the same ones for the same seed."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from PIL import Image

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
TYPES = ("image/jpeg", "image/png", "text/html", "application/pdf", "image/svg+xml", "")
NAMES = ("photo.jpg", "page.html", "../../etc/passwd", "CON", "a.svg", "x.exe", "\u202egnp.jpg")
FRAMES = 5000


@dataclass(frozen=True, slots=True)
class BadFile:
    """What is posted, and how it is called."""

    family: str
    content: bytes
    name: str
    content_type: str


def bad_files(seed: int, count: int) -> Iterator[BadFile]:
    """Two of three are damaged pictures, the others are made by hand."""
    chance = random.Random(seed)
    made = [(family, make()) for family, make in MADE.items()]
    for number in range(count):
        if number % 3 == 0:
            family, content = made[number // 3 % len(made)]
        else:
            family = chance.choice(list(DAMAGES))
            content = DAMAGES[family](chance, picture(chance.choice(KINDS)))
        yield BadFile(family, content, chance.choice(NAMES), chance.choice(TYPES))


@cache
def picture(kind: str, size: tuple[int, int] = (64, 48)) -> bytes:
    """A good one with some detail."""
    buffer = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def flip(chance: random.Random, content: bytes) -> bytes:
    flipped = bytearray(content)
    for _ in range(chance.randint(1, 20)):
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def flip_head(chance: random.Random, content: bytes) -> bytes:
    """Where sizes, depths and lengths are."""
    flipped = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        flipped[chance.randrange(4, min(len(flipped), 64))] = chance.choice((0, 1, 0x7F, 0x80, 255))
    return bytes(flipped)


def cut(chance: random.Random, content: bytes) -> bytes:
    return content[: chance.randrange(len(content))]


def splice(chance: random.Random, content: bytes) -> bytes:
    """A part of it stands twice, or is gone."""
    start, end = sorted(chance.randrange(4, len(content)) for _ in range(2))
    return (
        content[:end] + content[start:]
        if chance.random() < 0.5
        else content[:start] + content[end:]
    )


def lie(chance: random.Random, content: bytes) -> bytes:
    """Huge numbers somewhere behind the signature."""
    at = chance.randrange(4, len(content) - 4)
    return (
        content[:at]
        + chance.choice((b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 4))
        + content[at + 4 :]
    )


def cross(chance: random.Random, content: bytes) -> bytes:
    """The head of one kind, the body of another."""
    other = picture(chance.choice(KINDS))
    return content[: chance.randint(4, 40)] + other[chance.randint(0, 40) :]


def noise(chance: random.Random, content: bytes) -> bytes:
    return content[:12] + chance.randbytes(chance.randint(0, 2000))


DAMAGES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    f.__name__: f for f in (flip, flip_head, cut, splice, lie, cross, noise)
}


def chunk(kind: bytes, body: bytes) -> bytes:
    """One of PNG's."""
    checksum = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + checksum


def png(
    size: tuple[int, int], pixels: bytes, before: bytes = b"", after: bytes = b"", bits: int = 8
) -> bytes:
    """RGB of any bytes of compressed pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, 2, 0, 0, 0))
    body = header + before + chunk(b"IDAT", pixels) + after + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@cache
def zeros(mebibytes: int) -> bytes:
    """Zlib's stream of so many."""
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(mebibytes)) + packer.flush()


def tiff(tags: list[tuple[int, int, int, int]], rest: bytes = b"") -> bytes:
    """Little-endian, of one directory; what follows it begins at 14 + 12 x tags."""
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + bytes(4) + rest


def tiled(side: int) -> bytes:
    """One pixel in a tile of side x side."""
    start, body = 14 + 12 * 9, zeros(8)
    return tiff(
        [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1),
         (322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, start), (325, 4, 1, len(body))],
        body,
    )  # fmt: skip


def striped(strips: int) -> bytes:
    """A picture that claims so many strips."""
    start = 14 + 12 * 8
    return tiff(
        [(256, 3, 1, 64), (257, 3, 1, 48), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
         (273, 4, strips, start), (278, 4, 1, 1), (279, 4, strips, start)],
        bytes(4 * strips),
    )  # fmt: skip


def jpeg_of(width: int, height: int) -> bytes:
    """A small one that claims a size."""
    content = bytearray(picture("JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def exif_jpeg(exif: bytes) -> bytes:
    jpeg = picture("JPEG")
    body = b"Exif\0\0" + exif
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def profiled(size: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(buffer, "JPEG", icc_profile=bytes(size))
    return buffer.getvalue()


@cache
def animated(kind: str) -> bytes:
    """Thousands of tiny frames."""
    frames = [Image.new("RGB", (2, 2), (n % 256, n // 256, 9)) for n in range(FRAMES)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@cache
def paged() -> bytes:
    """As many pages of one pixel, a directory each."""
    size = 2 + 12 * 7 + 4
    end = 8 + FRAMES * size
    tags = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, end), (279, 4, 1, 1)]
    page = struct.pack("<H", 7) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    following = [struct.pack("<I", 8 + n * size) for n in range(1, FRAMES)] + [bytes(4)]
    return b"II*\0\x08\0\0\0" + b"".join(page + at for at in following) + b"\x7f"


@cache
def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("../../evil.py", "import os")
    return buffer.getvalue()


def saved(kind: str) -> bytes:
    """Of a kind that Pillow knows and we do not take."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(buffer, kind)
    return buffer.getvalue()


def texts(*chunks: tuple[bytes, bytes]) -> bytes:
    before = b"".join(chunk(kind, body) for kind, body in chunks)
    return png((64, 48), zlib.compress(bytes((1 + 3 * 64) * 48)), before)


HTML = b"<html><script>alert(document.domain)</script></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
IFD_LOOP = b"II*\0\x08\0\0\0" + b"\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + b"\x08\0\0\0"

MADE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "decompression bomb": lambda: png((64, 48), zeros(64)),
    "bomb of the largest size": lambda: png((16_000, 2_500), zeros(115)),
    "bomb of a huge size": lambda: png((30_000, 30_000), zeros(64)),
    "size beyond numbers": lambda: png((2**31 - 1, 2**31 - 1), b""),
    "65,535 px": lambda: jpeg_of(65_535, 65_535),
    "65,535 px wide": lambda: jpeg_of(65_535, 8),
    "tile of gigabytes": lambda: tiled(46_000),
    "tile beyond numbers": lambda: tiled(2**32 - 1),
    "strips without end": lambda: striped(100_000),
    "tags that overlap": lambda: tiff([(n, 7, 60_000, 8) for n in range(256, 4000)], bytes(60_000)),
    "zTXt bomb": lambda: texts((b"zTXt", b"a\0\0" + zeros(64))),
    "iTXt bomb": lambda: texts((b"iTXt", b"a\0\1\0\0\0" + zeros(64))),
    "iCCP bomb": lambda: texts((b"iCCP", b"a\0\0" + zeros(64))),
    "texts without end": lambda: texts(*[(b"tEXt", b"k\0v")] * 20_000),
    "EXIF loop": lambda: exif_jpeg(IFD_LOOP),
    "EXIF of nonsense": lambda: exif_jpeg(b"garbage!" * 100),
    "EXIF that overlaps": lambda: exif_jpeg(
        tiff([(n, 7, 30_000, 8) for n in range(2000)], bytes(30_000))
    ),
    "giant profile": lambda: profiled(3_000_000),
    "5,000 frames of GIF": lambda: animated("GIF"),
    "5,000 frames of PNG": lambda: animated("PNG"),
    "5,000 frames of WebP": lambda: animated("WEBP"),
    "5,000 pages of TIFF": paged,
    "zip behind a JPEG": lambda: picture("JPEG") + archive(),
    "zip before a PNG": lambda: archive() + picture("PNG"),
    "page behind a PNG": lambda: picture("PNG") + HTML,
    "page behind a GIF": lambda: picture("GIF") + HTML,
    "script in a GIF": lambda: b"GIF89a/*" + bytes(8) + b"*/=1;alert(1)//;",
    "page with a header": lambda: b"\xff\xd8\xff\xe0" + HTML,
    "BMP of a page": lambda: b"BM" + HTML,
    "PDF": lambda: b"%PDF-1.7\n%%EOF",
    "PDF behind a WebP": lambda: picture("WEBP") + b"%PDF-1.7\n%%EOF",
    "SVG": lambda: SVG,
    "packed SVG": lambda: gzip.compress(SVG),
    "EPS": lambda: saved("EPS"),
    "ICO": lambda: saved("ICO"),
    "PPM": lambda: saved("PPM"),
    "TGA": lambda: saved("TGA"),
    "JPEG 2000": lambda: saved("JPEG2000"),
    "PSD": lambda: b"8BPS\0\1" + bytes(40),
    "MP4": lambda: b"\0\0\0\x18ftypmp42" + bytes(40),
    "elf": lambda: b"\x7fELF" + bytes(100),
}
