"""Draws pictures of one or two plain shapes, each with its one right caption.

The pictures the captioner `darkroom/shapes` is trained and measured on. Nothing is read from
disk: a seed fixes the picture, its encoding (PNG or JPEG) and its caption.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from io import BytesIO

from PIL import Image, ImageDraw, ImageFilter

Rgb = tuple[int, int, int]
Points = list[tuple[float, float]]

# Several plausible bases a colour: a caption must not hang on one program's exact values.
COLOURS: dict[str, tuple[Rgb, ...]] = {
    "red": ((255, 0, 0), (220, 40, 40), (200, 30, 30), (220, 20, 60), (230, 50, 40)),
    "green": ((0, 128, 0), (0, 255, 0), (40, 160, 60), (50, 205, 50), (34, 139, 34), (60, 180, 75)),
    "blue": (
        (0, 0, 255),
        (30, 60, 200),
        (40, 80, 220),
        (0, 0, 180),
        (65, 105, 225),
        (30, 110, 230),
    ),
    "yellow": ((255, 255, 0), (240, 220, 40), (255, 215, 0), (250, 225, 50), (255, 235, 60)),
    "purple": ((128, 0, 128), (150, 50, 200), (110, 40, 160), (140, 60, 180), (120, 30, 150)),
    "orange": ((255, 165, 0), (240, 130, 20), (255, 140, 0), (245, 150, 30), (255, 127, 14)),
    "black": ((0, 0, 0), (20, 20, 20), (30, 30, 30), (10, 10, 15)),
    "pink": ((255, 192, 203), (255, 105, 180), (255, 182, 193), (250, 150, 190), (255, 130, 180)),
}
SHAPES = ("circle", "square", "triangle", "star")
BACKGROUNDS: dict[str, tuple[int, int]] = {"white": (248, 255), "gray": (124, 212)}
JITTER = 10  # levels, per channel
COVERS, ROLES = 2 + len(COLOURS) * len(SHAPES), 5  # how many labels `patch_labels` tells apart


@dataclass(frozen=True)
class Limits:
    """Least and greatest width, in shorter sides, and the least ratio of a pair's two offsets.

    A `lean` above 1 draws more of the small shapes.
    """

    alone: tuple[float, float]
    paired: tuple[float, float]
    ratio: float
    lean: float = 1.0


STATED = Limits((0.20, 0.60), (0.18, 0.40), 1.5)
# Programs differ on where a triangle's centre is and how wide a star is: to be sure of what lies
# on the limits by any of their measures, the last phase of training goes a little beyond them.
WIDER = Limits((0.18, 0.62), (0.155, 0.41), 1.25, 1.4)


@dataclass(frozen=True)
class Shape:
    """One shape; `x`, `y` (the centre of its box), `width` and `height` are in canvas pixels."""

    kind: str
    colour: str
    rgb: Rgb
    x: float
    y: float
    width: float
    height: float
    inner: float = 0.38  # star only: inner over outer radius
    turn: float = 0.0  # star only: degrees

    def outline(self, scale_x: float = 1.0, scale_y: float = 1.0) -> Points:
        """The corners as (x, y), scaled; for a circle the two corners of its box."""
        half_w, half_h = self.width / 2, self.height / 2
        if self.kind == "star":
            corners = _star(half_w, self.inner, self.turn)
        elif self.kind == "triangle":
            corners = [(0.0, -half_h), (half_w, half_h), (-half_w, half_h)]
        elif self.kind == "square":
            corners = [(-half_w, -half_h), (half_w, -half_h), (half_w, half_h), (-half_w, half_h)]
        else:
            corners = [(-half_w, -half_h), (half_w, half_h)]
        return [((self.x + dx) * scale_x, (self.y + dy) * scale_y) for dx, dy in corners]

    def radius(self) -> float:
        """A radius in pixels, about the centre, that no point of the shape lies beyond."""
        if self.kind in ("square", "triangle"):
            return math.hypot(self.width, self.height) / 2
        return self.width / 2 * (1.06 if self.kind == "star" else 1.0)


@dataclass(frozen=True)
class Picture:
    """A canvas in pixels and its shapes, in the order in which the caption names them."""

    width: int
    height: int
    background: str
    level: Rgb
    shapes: tuple[Shape, ...]
    relation: str = ""  # "above", "left of", or "" for a shape alone


def _star(half_width: float, inner: float, turn: float) -> Points:
    """Ten corners about (0, 0); an upright star so built is 2 * half_width px wide."""
    outer = half_width / math.cos(math.radians(18))
    points = []
    for corner in range(10):
        radius = outer if corner % 2 == 0 else outer * inner
        angle = math.radians(turn - 90 + 36 * corner)
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    return points


def caption_of(picture: Picture) -> str:
    """The one right caption.

    `a red circle on a white background`, or for two shapes the upper or the left one first:
    `an orange star above a blue square on a gray background`.
    """
    named = [f"{'an' if s.colour == 'orange' else 'a'} {s.colour} {s.kind}" for s in picture.shapes]
    joined = f" {picture.relation} ".join(named)
    return f"{joined} on a {picture.background} background"


def _clamp(value: float) -> int:
    return max(0, min(255, round(value)))


def _rgb(rng: random.Random, colour: str) -> Rgb:
    red, green, blue = (
        _clamp(c + rng.randint(-JITTER, JITTER)) for c in rng.choice(COLOURS[colour])
    )
    return red, green, blue


def _background(rng: random.Random, name: str) -> Rgb:
    level = rng.randint(*BACKGROUNDS[name])
    red, green, blue = (_clamp(level + rng.randint(-3, 3)) for _ in range(3))
    return red, green, blue


def _shape(rng: random.Random, colour: str, width: float) -> Shape:
    """A shape `width` px wide, not placed yet: centred on (0, 0)."""
    kind = rng.choice(SHAPES)
    height = width
    if kind == "triangle":
        height *= rng.choice((math.sqrt(3) / 2, 1.0, rng.uniform(0.85, 1.02)))
    turn = rng.uniform(0, 72) if kind == "star" and rng.random() < 0.08 else 0.0
    inner = rng.choice((0.382, rng.uniform(0.37, 0.51)))
    return Shape(kind, colour, _rgb(rng, colour), 0.0, 0.0, width, height, inner, turn)


def _place(rng: random.Random, shape: Shape, width: int, height: int) -> Shape:
    """The shape somewhere on a canvas of `width` x `height` px, whole."""
    half_w = shape.width / 2 * (1.06 if shape.kind == "star" else 1.0)
    half_h = shape.height / 2 * (1.06 if shape.kind == "star" else 1.0)
    x = rng.uniform(min(half_w + 1, width / 2), max(width - half_w - 1, width / 2))
    y = rng.uniform(min(half_h + 1, height / 2), max(height - half_h - 1, height / 2))
    return replace(shape, x=x, y=y)


def _apart(one: Shape, two: Shape) -> bool:
    """Whether two placed shapes cannot touch: by their boxes, or by the circles around them."""
    dx, dy = abs(one.x - two.x), abs(one.y - two.y)
    half = 0.53 if "star" in (one.kind, two.kind) else 0.5  # a turned star outgrows its width
    if dx > (one.width + two.width) * half + 1 or dy > (one.height + two.height) * half + 1:
        return True
    return math.hypot(dx, dy) > one.radius() + two.radius() + 1


def _relation(one: Shape, two: Shape, ratio: float) -> tuple[str, bool] | None:
    """The relation and whether `one` is named first; None where neither axis leads by `ratio`."""
    dx, dy = two.x - one.x, two.y - one.y
    if abs(dy) >= ratio * abs(dx):
        return "above", dy > 0
    if abs(dx) >= ratio * abs(dy):
        return "left of", dx > 0
    return None


def _canvas(rng: random.Random, largest: int) -> tuple[int, int]:
    """Width and height in px, both in [96, largest], of an aspect from 4:3 to 3:4."""
    long_side = round(math.exp(rng.uniform(math.log(96), math.log(largest))))
    short_side = max(96, round(long_side * rng.choice((1.0, 0.75, rng.uniform(0.75, 1.0)))))
    sides = (long_side, short_side)
    return sides if rng.random() < 0.5 else (sides[1], sides[0])


def _width(rng: random.Random, bounds: tuple[float, float], lean: float) -> float:
    """A shape's width, in shorter sides."""
    low, high = bounds
    share: float = rng.random() ** lean
    return low + (high - low) * share


def _pair(
    rng: random.Random, width: int, height: int, limits: Limits
) -> tuple[str, tuple[Shape, Shape]]:
    """Two placed shapes in naming order, and their relation."""
    wanted = rng.choice(("above", "left of"))  # wide and tall canvases would favour one
    short = min(width, height)
    while True:
        colours = rng.sample(sorted(COLOURS), 2)
        drawn = [_shape(rng, c, _width(rng, limits.paired, limits.lean) * short) for c in colours]
        for _ in range(20):
            one, two = (_place(rng, shape, width, height) for shape in drawn)
            found = _relation(one, two, limits.ratio)
            if found and found[0] == wanted and _apart(one, two):
                return wanted, (one, two) if found[1] else (two, one)


def plan(rng: random.Random, largest: int = 1024, limits: Limits = STATED) -> Picture:
    """Choose everything a picture shows; no side exceeds `largest` px."""
    width, height = _canvas(rng, largest)
    background = rng.choice(sorted(BACKGROUNDS))
    level = _background(rng, background)
    if rng.random() < 0.35:
        colour = rng.choice(sorted(COLOURS))
        shape = _shape(rng, colour, _width(rng, limits.alone, limits.lean) * min(width, height))
        return Picture(width, height, background, level, (_place(rng, shape, width, height),))
    relation, shapes = _pair(rng, width, height, limits)
    return Picture(width, height, background, level, shapes, relation)


def render(picture: Picture, smooth: int = 1) -> Image.Image:
    """The RGB image of `picture`; `smooth` > 1 is how many samples a pixel has on each axis."""
    image = Image.new("RGB", (picture.width, picture.height), picture.level)
    if smooth == 1:
        for shape in picture.shapes:
            _fill(ImageDraw.Draw(image), shape, shape.outline(), shape.rgb)
        return image
    for shape in picture.shapes:
        # Only the shape's own box is drawn large: a whole canvas would cost some ten times more.
        left, top = int(shape.x - shape.radius()) - 2, int(shape.y - shape.radius()) - 2
        side = int(2 * shape.radius()) + 6
        mask = Image.new("L", (side * smooth, side * smooth))
        corners = [((x - left) * smooth, (y - top) * smooth) for x, y in shape.outline()]
        _fill(ImageDraw.Draw(mask), shape, corners, 255)
        image.paste(shape.rgb, (left, top), mask.reduce(smooth))
    return image


def _fill(pen: ImageDraw.ImageDraw, shape: Shape, corners: Points, ink: Rgb | int) -> None:
    if shape.kind == "circle":
        pen.ellipse(corners, fill=ink)
    else:
        pen.polygon(corners, fill=ink)


def encode(rng: random.Random, image: Image.Image) -> Image.Image:
    """The image as it is read back from a PNG (unchanged) or a JPEG of quality 70 to 95."""
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
    if rng.random() < 0.5:
        return image
    data = BytesIO()
    image.save(data, "JPEG", quality=rng.randint(70, 95), subsampling=rng.choice((0, 1, 2, 2)))
    return Image.open(data).convert("RGB")


def draw_picture(
    seed: int | str, largest: int = 1024, limits: Limits = STATED
) -> tuple[Image.Image, Picture]:
    """The RGB image of `seed` and what it shows."""
    rng = random.Random(seed)
    picture = plan(rng, largest, limits)
    return encode(rng, render(picture, rng.choice((1, 2, 4)))), picture


def draw(seed: int | str, largest: int = 1024) -> tuple[Image.Image, str]:
    """The RGB image of `seed` and its caption."""
    image, picture = draw_picture(seed, largest)
    return image, caption_of(picture)


def patch_labels(picture: Picture, grid: int, patch: int) -> tuple[list[int], list[int]]:
    """What covers each of `grid` x `grid` patches, and its role; both row by row.

    Cover: 0 white, 1 gray background, else 2 + colour * 4 + shape. Role: 0 none, 1 alone,
    2 first of `above`, 3 first of `left of`, 4 second.
    """
    side = grid * patch
    cover = [sorted(BACKGROUNDS, reverse=True).index(picture.background)] * grid**2
    role, most = [0] * grid**2, [31] * grid**2  # an eighth of 255: less leaves a patch background
    for place, shape in enumerate(picture.shapes):
        mask = Image.new("L", (side, side))
        corners = shape.outline(side / picture.width, side / picture.height)
        _fill(ImageDraw.Draw(mask), shape, corners, 255)
        what = 2 + sorted(COLOURS).index(shape.colour) * len(SHAPES) + SHAPES.index(shape.kind)
        part = 4 if place else {"": 1, "above": 2, "left of": 3}[picture.relation]
        for index, share in enumerate(mask.reduce(patch).tobytes()):
            if share > most[index]:
                cover[index], role[index], most[index] = what, part, share
    return cover, role
