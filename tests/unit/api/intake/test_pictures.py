from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from api.intake.picture_structure import check_structure, kind_of
from api.intake.pictures import PictureLimits, check_picture
from api.problems import Problem
from common.parameters import MAX_SIDE

pytestmark = pytest.mark.anyio

LIMITS = PictureLimits(bytes=1_000_000, pixels=40_000_000)
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def image(kind: str, size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "teal").save(buffer, kind, **options)
    return buffer.getvalue()


async def verdict(content: bytes) -> int | None:
    """The status of the refusal, if it is refused."""
    try:
        await check_picture(content, LIMITS)
    except Problem as problem:
        return problem.status
    return None


@pytest.mark.parametrize("kind", KINDS)
async def test_a_whole_image_passes_with_its_true_type(kind: str) -> None:
    picture = await check_picture(image(kind), LIMITS)
    assert picture.content_type == f"image/{kind.lower()}"


async def test_a_progressive_jpeg_with_a_profile_and_a_thumbnail_passes() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a thumbnail's end: \xff\xd9"
    content = image("JPEG", progressive=True, icc_profile=bytes(200_000), exif=exif.tobytes())
    assert check_structure(content, "JPEG") == (64, 48)


async def test_bytes_behind_the_end_do_no_harm() -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        await check_picture(image(kind) + b"appended", LIMITS)
    await check_picture(image("GIF") + b"\0\0", LIMITS)


async def test_an_end_before_the_pixels_is_none() -> None:
    content = image("JPEG", comment=b"\xff\xd9")
    with pytest.raises(Problem) as refused:
        await check_picture(content[:-2], LIMITS)
    assert refused.value.code == "truncated_image"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("size", [(MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)])
async def test_a_side_beyond_the_limit_is_refused(kind: str, size: tuple[int, int]) -> None:
    with pytest.raises(Problem) as refused:
        await check_picture(image(kind, size), LIMITS)
    assert refused.value.code == "image_too_large"
    await check_picture(image(kind, (min(size[0], MAX_SIDE), min(size[1], MAX_SIDE))), LIMITS)


async def test_more_bytes_than_allowed_are_refused() -> None:
    with pytest.raises(Problem) as refused:
        await check_picture(image("BMP"), PictureLimits(bytes=100, pixels=10_000))
    assert (refused.value.code, refused.value.status) == ("file_too_large", 413)


@given(kind=st.sampled_from(KINDS), data=st.data())
async def test_a_damaged_image_passes_or_is_a_problem(kind: str, data: st.DataObject) -> None:
    content = bytearray(image(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    assert await verdict(bytes(content)) in (None, 415, 422)


@given(head=st.sampled_from([image(kind)[:14] for kind in KINDS]), tail=st.binary(max_size=300))
async def test_any_bytes_behind_a_signature_pass_or_are_a_problem(head: bytes, tail: bytes) -> None:
    assert kind_of(head + tail) is not None
    assert await verdict(head + tail) in (None, 415, 422)
