"""A pencil sketch of the picture: its grey levels, dodged by their own blurred negative."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageFilter, ImageMath, ImageOps

from consumers.custom_infer import CustomModel

_STROKE = 1 / 120  # the blur's radius, as a share of the picture's shorter side
_THINNEST = 2.0  # px, the least radius
_GAMMA = 2.2  # on the strokes; above 1 they are darker


class PencilSketch(CustomModel):
    """Flat areas turn white like paper, edges stay as grey strokes."""

    def infer(self, image: Image.Image) -> Image.Image:
        grey = ImageOps.grayscale(image)
        radius = max(_THINNEST, min(image.size) * _STROKE)
        dodged = _dodge(grey, grey.filter(ImageFilter.GaussianBlur(radius)))
        return dodged.point([round(255 * (level / 255) ** _GAMMA) for level in range(256)])


def _dodge(grey: Image.Image, blurred: Image.Image) -> Image.Image:
    """Each level divided by its surroundings', at most white."""

    def divide(given: dict[str, Any]) -> Any:
        quotient = (given["grey"] + 1) * 255 / (given["blurred"] + 1)
        return given["convert"](given["min"](quotient, 255), "L")

    dodged: Image.Image = ImageMath.lambda_eval(divide, grey=grey, blurred=blurred)
    return dodged
