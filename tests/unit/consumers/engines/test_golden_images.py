"""What the engine sees of pictures that say more than pixels: the same few colours, every time."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import pytest
from PIL import Image, ImageCms

from consumers.engines.images import decode

SIZE = (24, 16)
RED, GREEN, BLUE, GREY, WHITE = (
    (230, 30, 30), (30, 200, 40), (30, 60, 220), (128, 128, 128), (255, 255, 255),
)  # fmt: skip
Colour = tuple[int, ...]


def quarters(*colours: Colour) -> Image.Image:
    """Top left, top right, bottom left, bottom right."""
    image = Image.new("RGB" if len(colours[0]) == 3 else "RGBA", SIZE)
    width, height = SIZE[0] // 2, SIZE[1] // 2
    for number, colour in enumerate(colours):
        left, top = number % 2 * width, number // 2 * height
        image.paste(colour, (left, top, left + width, top + height))
    return image


GOLDEN = quarters(RED, GREEN, BLUE, GREY)


def stored(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def seen(content: bytes) -> list[Colour]:
    """The middles of the four quarters."""
    image = decode(content, max_pixels=1_000_000)
    assert image.mode == "RGB"
    width, height = image.size
    found = []
    for y in (height // 4, 3 * height // 4):
        for x in (width // 4, 3 * width // 4):
            pixel = image.getpixel((x, y))
            assert isinstance(pixel, tuple)
            found.append(pixel)
    return found


def near(colours: Sequence[Colour], most: int = 6) -> list[object]:
    return [pytest.approx(colour, abs=most) for colour in colours]


UPRIGHT = [RED, GREEN, BLUE, GREY]
ORIENTATIONS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_jpeg_of_every_orientation_is_seen_upright(orientation: int) -> None:
    how = ORIENTATIONS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = GOLDEN if how is None else GOLDEN.transpose(how)
    content = stored(turned, "JPEG", exif=exif, quality=95, subsampling=0)
    assert seen(content) == near(UPRIGHT)


@pytest.mark.parametrize("garbage", [b"garbage!" * 9, b"", b"MM\0*\xff\xff\xff\xff", b"II*\0"])
def test_exif_that_is_none_leaves_the_picture_as_it_is(garbage: bytes) -> None:
    jpeg = stored(GOLDEN, "JPEG", quality=95, subsampling=0)
    body = b"Exif\0\0" + garbage
    content = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
    assert seen(content) == near(UPRIGHT)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def deep_png(colour_type: int, rows: list[bytes], transparent: bytes = b"") -> bytes:
    """Sixteen bits a channel, as Pillow itself cannot write it."""
    header = struct.pack(">IIBBBBB", 2, 2, 16, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    marks = chunk(b"tRNS", transparent) if transparent else b""
    body = chunk(b"IHDR", header) + marks + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def levels(*values: int) -> bytes:
    """Eight bits as sixteen."""
    return struct.pack(f">{len(values)}H", *(value * 257 for value in values))


def test_sixteen_bits_of_colour_are_scaled() -> None:
    content = deep_png(2, [levels(*RED, *GREEN), levels(*BLUE, *GREY)])
    assert seen(content) == near(UPRIGHT, 1)


def test_sixteen_bits_with_alpha_lie_over_white() -> None:
    content = deep_png(6, [levels(*RED, 255, *GREEN, 255), levels(*BLUE, 0, *GREY, 255)])
    assert seen(content) == near([RED, GREEN, WHITE, GREY], 1)


def test_sixteen_bits_of_grey_with_alpha_lie_over_white() -> None:
    content = deep_png(4, [levels(0, 255, 128, 255), levels(0, 0, 200, 255)])
    assert seen(content) == near([(0,) * 3, GREY, WHITE, (200,) * 3], 1)


def test_sixteen_bits_of_grey_with_one_transparent_level_are_read() -> None:
    content = deep_png(0, [levels(0, 128), levels(255, 200)], transparent=levels(255))
    assert seen(content) == near([(0,) * 3, GREY, WHITE, (200,) * 3], 1)


def test_cmyk_is_seen_in_its_colours() -> None:
    printed = GOLDEN.convert("CMYK")
    for kind, options in (("JPEG", {"quality": 95}), ("TIFF", {})):
        assert seen(stored(printed, kind, **options)) == near(UPRIGHT)


def test_a_palette_with_a_transparent_colour_lies_over_white() -> None:
    small = GOLDEN.quantize(8)
    clear = small.getpixel((2, 2))
    for kind in ("PNG", "GIF"):
        assert seen(stored(small, kind, transparency=clear)) == near([WHITE, GREEN, BLUE, GREY])


def test_half_transparent_colours_lie_over_white() -> None:
    image = quarters((*RED, 255), (*GREEN, 0), (0, 0, 0, 51), (*GREY, 255))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        assert seen(stored(image, kind, **options)) == near([RED, WHITE, (204,) * 3, GREY])


def test_one_bit_is_black_and_white() -> None:
    black = (0, 0, 0)
    image = quarters(black, WHITE, WHITE, black).convert("1")
    for kind in ("PNG", "TIFF", "BMP", "GIF"):
        assert seen(stored(image, kind)) == [black, WHITE, WHITE, black]


def test_interlaced_and_progressive_pictures_are_seen_whole() -> None:
    assert seen(stored(GOLDEN, "GIF", interlace=1)) == near(UPRIGHT)
    progressive = stored(GOLDEN, "JPEG", progressive=True, quality=95, subsampling=0)
    assert seen(progressive) == near(UPRIGHT)


def test_a_profile_of_other_colours_comes_out_as_srgb() -> None:
    """In its profile red and blue change places: what is stored as blue means red."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {}
    for number in range(int.from_bytes(profile[128:132], "big")):
        at = 132 + 12 * number
        tags[bytes(profile[at : at + 4])] = at
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    expected = [(colour[2], colour[1], colour[0]) for colour in UPRIGHT]
    for kind, options in (("PNG", {}), ("JPEG", {"quality": 95, "subsampling": 0}), ("TIFF", {})):
        content = stored(GOLDEN, kind, icc_profile=bytes(profile), **options)
        assert seen(content) == near(expected), kind


def test_of_many_frames_the_first_is_seen() -> None:
    others = [Image.new("RGB", SIZE, "black")] * 3
    for kind, options in (
        ("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}),
        ("MPO", {"quality": 95, "subsampling": 0}),
    ):  # fmt: skip
        content = stored(GOLDEN, kind, save_all=True, append_images=others, **options)
        assert seen(content) == near(UPRIGHT), kind
