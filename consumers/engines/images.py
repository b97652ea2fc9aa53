"""Pictures: bytes of any accepted format to plain sRGB pixels, and pixels to bytes.

The only place where a picture is decoded in full. Pillow alone, so that a model without torch
starts fast.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from PIL import (
    Image,
    ImageCms,
    ImageFile,
    ImageOps,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from common.errors import BadInput
from common.parameters import MAX_SIDE
from consumers.engines.base import EngineFile
from consumers.engines.decode_bounds import CPU_SECONDS, bounded

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

_QUALITY = {"jpeg": {"quality": 95}, "webp": {"quality": 90}, "png": {}}
_TILE_WIDTH, _TILE_HEIGHT = 322, 323  # TIFF's tags
_SIXTEEN_BITS = 65_535
_BLOCK = 512  # bytes given to a decoder at once, so that its time can be watched in between
_SRGB = ImageCms.createProfile("sRGB")


def decode(content: bytes, *, max_pixels: int, cpu_seconds: float = CPU_SECONDS) -> Image.Image:
    """The first frame as a human would see it: upright, RGB in sRGB, alpha over white.

    Raises BadInput for what is no picture, is broken, is larger than allowed, or takes too long.
    """
    with _opened(content, max_pixels, cpu_seconds) as image:
        return to_rgb(ImageOps.exif_transpose(image))


def describe(content: bytes, *, max_pixels: int) -> str:
    """Size and format as the file's header tells them: "640x480 JPEG". Raises BadInput."""
    with _opened(content, max_pixels) as image:
        return f"{image.width}x{image.height} {image.format}"


def encode(image: Image.Image, output_format: str) -> EngineFile:
    """The picture as a file of jpeg, png or webp, rebuilt from its pixels: no metadata at all.

    png and webp keep an alpha channel; in a jpeg it is laid over white.
    """
    if image.mode != "RGBA" or output_format == "jpeg":
        image = to_rgb(image)
    buffer = io.BytesIO()
    _pixels_only(image).save(buffer, output_format, **_QUALITY[output_format])
    return EngineFile(content=buffer.getvalue(), content_type=f"image/{output_format}")


def to_rgb(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes to RGB in sRGB. Many bits are scaled, alpha is laid over white."""
    profile = image.info.get("icc_profile")
    if image.mode == "F" or image.mode.startswith("I"):
        image = _to_eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(_to_srgb(image.convert("RGB"), profile), mask=image.getchannel("A"))
        return white
    if image.mode in ("1", "P"):
        image = image.convert("RGB")
    return _pixels_only(_to_srgb(image, profile))


@contextmanager
def _opened(
    content: bytes, max_pixels: int, cpu_seconds: float = CPU_SECONDS
) -> Iterator[Image.Image]:
    """The file with its header read and its size checked, before any pixel is decoded.

    What Pillow raises here and inside the `with` becomes BadInput.
    """
    # Pillow holds this limit against every header that it reads, those inside a file included.
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with (
                bounded(max_pixels, cpu_seconds),
                Image.open(io.BytesIO(content), formats=FORMATS) as image,
            ):
                _check_sides(image)
                _check_tiles(image, max_pixels)
                if isinstance(image, ImageFile.ImageFile):
                    image.decodermaxblock = _BLOCK
                yield image
    except UnidentifiedImageError:
        raise BadInput(f"The input is no picture: send one of {', '.join(FORMATS)}.") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise BadInput(
            f"The picture has more than {max_pixels / 1e6:g} megapixels: send a smaller one."
        ) from None
    except BadInput:
        raise
    except Exception as error:  # what decoders raise on hostile bytes is listed nowhere
        reason = str(error) or type(error).__name__
        raise BadInput(f"The picture is broken ({reason}): send an intact one.") from error


def _check_sides(image: Image.Image) -> None:
    if max(image.size) > MAX_SIDE:
        raise BadInput(
            f"The picture is {image.width}x{image.height} px: at most {MAX_SIDE} px a side "
            "are allowed, send a smaller one."
        )


def _check_tiles(image: Image.Image, max_pixels: int) -> None:
    """A TIFF's tiles are decoded whole, however small the picture is that they cover."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    width, height = image.tag_v2.get(_TILE_WIDTH, 1), image.tag_v2.get(_TILE_HEIGHT, 1)
    if width * height > max_pixels:
        raise BadInput(
            f"The picture's tiles have {width}x{height} px: at most {max_pixels / 1e6:g} "
            "megapixels are allowed, save it with smaller ones."
        )


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Grey levels of 16 or 32 bits, or of floats, to mode L."""
    levels = image if image.mode == "F" else image.convert("I")
    low, high = cast(tuple[float, float], levels.getextrema())
    largest = 1 if levels.mode == "F" else _SIXTEEN_BITS
    if low >= 0 and high <= largest:
        low, high = 0, largest
    scale = 255 / ((high - low) or 1)
    offset = 0.5 - low * scale
    return levels.point(lambda level: level * scale + offset).convert("L")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Colours by the embedded profile. One that is broken or of another mode counts as none."""
    if not profile:
        return image.convert("RGB")
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, embedded, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")
    assert converted is not None  # it is only where the picture is changed in place
    return converted


def _pixels_only(image: Image.Image) -> Image.Image:
    """A copy without EXIF, profile, comment or resolution, some of which `save` would write."""
    clean = Image.new(image.mode, image.size)
    clean.paste(image)
    return clean
