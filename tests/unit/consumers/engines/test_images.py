from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from common.errors import BadInput
from consumers.engines.images import FORMATS, decode, describe, encode, to_rgb
from tests.unit.consumers.engines.conftest import MAX_PIXELS, read, saved

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112


def decoded(content: bytes) -> Image.Image:
    return decode(content, max_pixels=MAX_PIXELS)


def refusal(content: bytes, max_pixels: int = MAX_PIXELS) -> str:
    with pytest.raises(BadInput) as caught:
        decode(content, max_pixels=max_pixels)
    assert caught.value.code == "bad_input"
    return str(caught.value)


def corners() -> Image.Image:
    """3x2: red at the top left, green at the top right, blue at the bottom left."""
    image = Image.new("RGB", (3, 2), WHITE)
    image.putpixel((0, 0), RED)
    image.putpixel((2, 0), GREEN)
    image.putpixel((0, 1), BLUE)
    return image


# How the upright picture must be stored for each value of the EXIF tag.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_comes_out_upright(orientation: int, format: str) -> None:
    how = STORED[orientation]
    stored = corners() if how is None else corners().transpose(how)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    upright = decoded(saved(stored, format, exif=exif, **options))
    assert upright.tobytes() == corners().tobytes()
    assert upright.size == (3, 2)


def test_a_rotated_jpeg_comes_out_upright() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    wide = Image.new("RGB", (64, 32), RED)
    assert decoded(saved(wide, "JPEG", exif=exif)).size == (32, 64)


def test_broken_exif_does_not_spoil_a_good_picture() -> None:
    content = saved(corners(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    assert decoded(content).size == (3, 2)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = Image.new("I;16", (256, 1))
    for level in range(256):
        deep.putpixel((level, 0), level * 257)
    for content in (saved(deep, "PNG"), saved(deep, "TIFF")):
        shallow = decoded(content)
        assert [shallow.getpixel((x, 0)) for x in range(256)] == [(x, x, x) for x in range(256)]


@pytest.mark.parametrize("mode", ["I;16B", "I", "F"])
def test_other_deep_grey_levels_are_scaled_too(mode: str) -> None:
    deep = Image.new(mode, (3, 1))
    for x, level in enumerate((0, 32_896, 65_535)):
        deep.putpixel((x, 0), level / 65_535 if mode == "F" else level)
    shallow = decoded(saved(deep, "TIFF"))
    assert [shallow.getpixel((x, 0)) for x in range(3)] == [(v, v, v) for v in (0, 128, 255)]


def test_a_flat_deep_picture_is_not_divided_by_zero() -> None:
    assert to_rgb(Image.new("I", (2, 2), 100_000)).mode == "RGB"


def test_cmyk_becomes_rgb() -> None:
    printed = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    for format in ("JPEG", "TIFF"):
        colour = decoded(saved(printed, format)).getpixel((4, 4))
        assert colour == pytest.approx(RED, abs=3)


def test_an_embedded_profile_is_applied() -> None:
    lab = ImageCms.createProfile("LAB")
    plain = Image.new("RGB", (8, 8), (200, 30, 30))
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), lab, "RGB", "LAB")
    stored = ImageCms.applyTransform(plain, transform)
    assert stored is not None
    content = saved(stored, "TIFF", icc_profile=ImageCms.ImageCmsProfile(lab).tobytes())
    assert decoded(content).getpixel((4, 4)) == pytest.approx((200, 30, 30), abs=3)


def test_a_broken_profile_counts_as_none() -> None:
    content = saved(corners(), icc_profile=b"no profile at all")
    assert decoded(content).tobytes() == corners().tobytes()


@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [
        ("RGBA", (255, 0, 0, 0), WHITE),
        ("RGBA", (255, 0, 0, 255), RED),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("LA", (0, 51), (204, 204, 204)),
        ("1", 1, WHITE),
        ("L", 7, (7, 7, 7)),
    ],
)
def test_alpha_lies_over_white(mode: str, colour: object, seen: tuple[int, int, int]) -> None:
    assert decoded(saved(Image.new(mode, (2, 2), colour))).getpixel((0, 0)) == seen  # type: ignore[arg-type]


def test_palettes_keep_their_colours_and_their_transparency() -> None:
    small = corners().quantize(4)
    assert decoded(saved(small)).tobytes() == corners().tobytes()
    clear = small.copy()
    index = clear.getpixel((0, 0))
    for format in ("PNG", "GIF"):
        content = saved(clear, format, transparency=index)
        assert decoded(content).getpixel((0, 0)) == WHITE
        assert decoded(content).getpixel((2, 0)) == GREEN


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    for format in ("GIF", "TIFF"):
        content = saved(frames[0], format, save_all=True, append_images=frames[1:])
        assert decoded(content).getpixel((1, 1)) == RED


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_read_and_described(format: str) -> None:
    content = saved(Image.new("RGB", (20, 10), BLUE), format)
    assert decoded(content).size == (20, 10)
    assert describe(content, max_pixels=MAX_PIXELS) == f"20x10 {format}"


def test_the_decoded_picture_carries_nothing_but_pixels() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret"
    content = saved(corners(), "JPEG", exif=exif, comment=b"a secret", dpi=(300, 300))
    picture = decoded(content)
    assert (picture.mode, picture.info, dict(picture.getexif())) == ("RGB", {}, {})


@pytest.mark.parametrize("output_format", ["jpeg", "png", "webp"])
def test_outputs_carry_no_metadata(output_format: str) -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "a secret")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "a secret"
    source = read(saved(corners(), "PNG", pnginfo=notes, icc_profile=profile, exif=exif))
    source.info["comment"] = b"a secret"
    file = encode(source, output_format)
    made = read(file.content)
    assert file.content_type == f"image/{output_format}"
    assert (made.format or "").lower() == output_format
    assert not set(made.info) & {"exif", "icc_profile", "comment", "Comment", "dpi", "xmp"}
    assert b"secret" not in file.content


def test_png_and_webp_keep_alpha_and_jpeg_lays_it_over_white() -> None:
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert read(encode(half, "png").content).mode == "RGBA"
    assert read(encode(half, "webp").content).mode == "RGBA"
    assert read(encode(half, "jpeg").content).getpixel((4, 4)) == WHITE


def test_a_png_loses_nothing() -> None:
    assert read(encode(corners(), "png").content).tobytes() == corners().tobytes()


def test_what_is_no_picture_is_refused() -> None:
    for content in (b"", b"hello", b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>"):
        assert "no picture" in refusal(content)


def test_other_formats_that_pillow_knows_are_refused() -> None:
    assert "no picture" in refusal(saved(corners(), "ICO"))
    assert "no picture" in refusal(saved(corners(), "PPM"))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_truncated_picture_is_refused(format: str) -> None:
    content = saved(Image.effect_noise((64, 64), 90).convert("RGB"), format)
    assert "send" in refusal(content[: len(content) // 2])


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_the_size_is_refused_from_the_header() -> None:
    assert "more than 40 megapixels" in refusal(png_header(8_000, 5_001))
    assert "more than 40 megapixels" in refusal(png_header(16_000, 16_000))
    assert "16383 px a side" in refusal(png_header(65_535, 2))


def test_the_limit_of_pixels_is_the_callers() -> None:
    content = saved(Image.new("RGB", (20, 10)))
    assert "more than 0.0001 megapixels" in refusal(content, max_pixels=100)
    assert decode(content, max_pixels=200).size == (20, 10)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_a_damaged_picture_is_read_or_refused_and_nothing_else(
    format: str, data: st.DataObject
) -> None:
    content = bytearray(saved(corners().resize((40, 30)), format))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = decoded(bytes(content))
    except BadInput:
        return
    assert picture.mode == "RGB"
