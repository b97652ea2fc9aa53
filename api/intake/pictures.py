"""The check at the door: is this an image, whole, and not too large?

Nothing is decoded here, and no image library is asked: what a hostile header could make one do, in
time or in memory, would be the API's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from api.intake.picture_structure import check_structure, kind_of
from api.problems import Problem
from common.parameters import MAX_SIDE
from common.settings import Settings


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that passed the door."""

    content: bytes
    content_type: str  # by its true type
    sha256: str


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """How large an image may be."""

    bytes: int
    pixels: int

    @classmethod
    def of(cls, settings: Settings) -> PictureLimits:
        return cls(bytes=settings.max_image_bytes, pixels=settings.max_image_pixels)


def check_picture(content: bytes, limits: PictureLimits, *, sha256: str | None = None) -> Picture:
    """The picture that `content` is, by its structure: that takes microseconds. Raises Problem."""
    if not content:
        raise Problem("empty_file", "The image has no bytes: check the path and send it again.")
    if len(content) > limits.bytes:
        raise too_many_bytes(limits)
    kind = kind_of(content)
    if kind is None:
        raise _not_an_image()
    _check_size(check_structure(content, kind), limits)
    digest = sha256 or hashlib.sha256(content).hexdigest()
    return Picture(content=content, content_type=f"image/{kind.lower()}", sha256=digest)


def too_many_bytes(limits: PictureLimits) -> Problem:
    """What an image of too many bytes is answered with, wherever that shows first."""
    return Problem(
        "file_too_large", f"The image has more than {limits.bytes} bytes: send a smaller one."
    )


def _check_size(size: tuple[int, int], limits: PictureLimits) -> None:
    width, height = size
    shown = f"The image has {width} x {height} pixels"
    if width * height > limits.pixels:
        raise Problem("image_too_large", f"{shown}: at most {limits.pixels} are allowed.")
    if max(size) > MAX_SIDE:
        raise Problem("image_too_large", f"{shown}: a side has at most {MAX_SIDE}.")


def _not_an_image() -> Problem:
    return Problem(
        "not_an_image", "This is no image: send JPEG, PNG, WebP, GIF (first frame), BMP or TIFF."
    )
