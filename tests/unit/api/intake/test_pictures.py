from __future__ import annotations

import io
import struct

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from api.intake.picture_structure import check_structure, kind_of
from api.intake.pictures import PictureLimits, check_picture
from api.problems import Problem
from common.parameters import MAX_SIDE

LIMITS = PictureLimits(bytes=1_000_000, pixels=40_000_000)
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def image(kind: str, size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "teal").save(buffer, kind, **options)
    return buffer.getvalue()


def verdict(content: bytes) -> int | None:
    """The status of the refusal, if it is refused."""
    try:
        check_picture(content, LIMITS)
    except Problem as problem:
        return problem.status
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_image_passes_with_its_true_type(kind: str) -> None:
    picture = check_picture(image(kind), LIMITS)
    assert picture.content_type == f"image/{kind.lower()}"


def test_a_progressive_jpeg_with_a_profile_and_a_thumbnail_passes() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a thumbnail's end: \xff\xd9"
    content = image("JPEG", progressive=True, icc_profile=bytes(200_000), exif=exif.tobytes())
    assert check_structure(content, "JPEG") == (64, 48)


def test_bytes_behind_the_end_do_no_harm() -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        check_picture(image(kind) + b"appended", LIMITS)
    check_picture(image("GIF") + b"\0\0", LIMITS)


def test_an_end_before_the_pixels_is_none() -> None:
    content = image("JPEG", comment=b"\xff\xd9")
    with pytest.raises(Problem) as refused:
        check_picture(content[:-2], LIMITS)
    assert refused.value.code == "truncated_image"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("size", [(MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)])
def test_a_side_beyond_the_limit_is_refused(kind: str, size: tuple[int, int]) -> None:
    with pytest.raises(Problem) as refused:
        check_picture(image(kind, size), LIMITS)
    assert refused.value.code == "image_too_large"
    check_picture(image(kind, (min(size[0], MAX_SIDE), min(size[1], MAX_SIDE))), LIMITS)


def test_more_bytes_than_allowed_are_refused() -> None:
    with pytest.raises(Problem) as refused:
        check_picture(image("BMP"), PictureLimits(bytes=100, pixels=10_000))
    assert (refused.value.code, refused.value.status) == ("file_too_large", 413)


@given(kind=st.sampled_from(KINDS), data=st.data())
def test_a_damaged_image_passes_or_is_a_problem(kind: str, data: st.DataObject) -> None:
    content = bytearray(image(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    assert verdict(bytes(content)) in (None, 415, 422)


@given(head=st.sampled_from([image(kind)[:14] for kind in KINDS]), tail=st.binary(max_size=300))
def test_any_bytes_behind_a_signature_pass_or_are_a_problem(head: bytes, tail: bytes) -> None:
    assert kind_of(head + tail) is not None
    assert verdict(head + tail) in (None, 415, 422)


SIZES = [(1, 1), (300, 7), (16_383, 2)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_size_is_what_a_decoder_sees(kind: str, size: tuple[int, int]) -> None:
    assert check_structure(image(kind, size), kind) == size


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}),
        ("TIFF", {"big_tiff": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("JPEG", {"progressive": True}),
    ],
)
def test_the_size_is_found_in_each_flavour(kind: str, options: dict[str, object]) -> None:
    assert check_structure(image(kind, (300, 7), **options), kind) == (300, 7)


def test_a_first_frame_beyond_the_screen_counts() -> None:
    content = bytearray(image("GIF"))
    content[6:10] = bytes([1, 0, 1, 0])
    assert check_structure(bytes(content), "GIF") == (64, 48)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF"])
def test_a_side_of_nothing_is_no_image(kind: str) -> None:
    """Its width and height are looked for in the file, and set to nothing."""
    content = image(kind, (9999, 7))
    for width in (b"\x27\x0f", b"\x0f\x27"):
        content = content.replace(width, b"\0\0")
    with pytest.raises(Problem) as refused:
        check_picture(content, LIMITS)
    assert refused.value.code == "not_an_image"


def test_a_tiff_of_countless_strips_is_checked_by_its_directory_alone() -> None:
    """Eight million strips kept an image library busy for seconds, and its caller with it."""
    entries = [(256, 3, 1, 64), (257, 3, 1, 48), (273, 4, 8_000_000, 50)]
    content = b"II*\0" + struct.pack("<IH", 8, len(entries))
    content += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(32_000_000)
    before = resident()
    check_picture(content, PictureLimits(bytes=33_554_432, pixels=10_000))
    assert resident() - before < 8 * 1024 * 1024


def test_a_directory_of_too_many_tags_is_no_image() -> None:
    entry = struct.pack("<HHII", 256, 3, 1, 64)
    content = b"II*\0" + struct.pack("<IH", 8, 65_535) + entry * 65_535
    with pytest.raises(Problem) as refused:
        check_picture(content, LIMITS)
    assert refused.value.code == "not_an_image"


def resident() -> int:
    """Bytes that this process holds."""
    return int(psutil.Process().memory_info().rss)
