"""A second renderer of the same pictures, sharing no code with draw.py.

It measures whether the captioner learned the pictures or one program's way to draw them. Every
pixel is tested against the shape's own inequality instead of being filled by a drawing library;
colours, placement and sizes are chosen in other ways too.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grid = NDArray[np.float64]
PALETTE = {
    "red": ["#ff0000", "#eb1919", "#cc0000"],
    "green": ["#008000", "#2eaa46", "#14c828"],
    "blue": ["#0000ff", "#1946d2", "#3c3cf0"],
    "yellow": ["#ffff00", "#f5e61e", "#ffdc14"],
    "purple": ["#800080", "#912dbe", "#663399"],
    "orange": ["#ffa500", "#f08214", "#ff7800"],
    "black": ["#000000", "#191919"],
    "pink": ["#ffc0cb", "#ff69b4", "#f08cb4"],
}
KINDS = ["triangle", "circle", "star", "square"]


def inside(kind: str, x: Grid, y: Grid, ratio: float) -> NDArray[np.bool_]:
    """Which points lie in the shape; x, y are from its centre, in half widths, y downwards.

    `ratio` is a star's inner over outer radius, and a triangle's height over its width.
    """
    if kind == "circle":
        return x * x + y * y <= 1.0
    if kind == "square":
        return np.maximum(np.abs(x), np.abs(y)) <= 1.0
    if kind == "triangle":  # its centre is the centroid: two thirds of the height above it
        height = 2 * ratio
        down = (y + height * 2 / 3) / height  # 0 at the tip, 1 at the base
        return (down <= 1.0) & (np.abs(x) <= down)
    # A star is one wedge of 36 degrees, mirrored and turned: fold every point into the wedge.
    angle = np.abs((np.arctan2(x, -y) + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    radius = np.hypot(x, y)
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    notch_x, notch_y = ratio * np.cos(np.pi / 5), ratio * np.sin(np.pi / 5)
    return across * (1 - notch_x) <= notch_y * (1 - along)


def coverage(size: tuple[int, int], centre: tuple[float, float], half: float, kind: str,
             ratio: float, samples: int) -> Grid:
    """(height, width), the share of each pixel in the shape, from samples x samples points."""
    width, height = size
    columns = (np.arange(width * samples) + 0.5) / samples
    rows = (np.arange(height * samples) + 0.5) / samples
    x, y = np.meshgrid((columns - centre[0]) / half, (rows - centre[1]) / half)
    mask = inside(kind, x, y, ratio).astype(np.float64)
    return mask.reshape(height, samples, width, samples).mean(axis=(1, 3))


def _ink(rng: np.random.Generator, name: str) -> Grid:
    """(3,), a shade of the colour in levels."""
    code = str(rng.choice(PALETTE[name]))
    base = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float64)
    return np.clip(base + rng.uniform(-8, 8, 3), 0, 255)


def _fits(size: tuple[int, int], centre: tuple[float, float], half: float) -> bool:
    """Whether a shape lies on the canvas: a square of 1.16 half widths about its centre does."""
    room = 1.16 * half
    return all(room <= at <= side - room for at, side in zip(centre, size, strict=True))


def _centres(rng: np.random.Generator, size: tuple[int, int], halves: list[float],
             stacked: bool) -> list[tuple[float, float]] | None:
    """Centres of the shape named first and of the other, or None where the try fails."""
    first = (float(rng.uniform(0, size[0])), float(rng.uniform(0, size[1])))
    if len(halves) == 1:
        return [first] if _fits(size, first, halves[0]) else None
    lead = float(rng.uniform(1.2, 2.2)) * sum(halves)  # 1.2: a triangle reaches 1.16 from its centre
    aside = float(rng.uniform(-1, 1)) * lead / 1.5
    dx, dy = (aside, lead) if stacked else (lead, aside)
    second = (first[0] + dx, first[1] + dy)
    fine = _fits(size, first, halves[0]) and _fits(size, second, halves[1])
    return [first, second] if fine else None


def _canvas(rng: np.random.Generator) -> tuple[int, int]:
    """Width and height, px."""
    aspects = [(4, 3), (1, 1), (3, 4), (5, 4), (7, 8)]
    wide, high = aspects[int(rng.integers(len(aspects)))]
    unit = int(rng.integers(96, 769)) / min(wide, high)
    return round(wide * unit), round(high * unit)


def _arrange(rng: np.random.Generator, size: tuple[int, int], count: int,
             stacked: bool) -> tuple[list[float], list[tuple[float, float]]]:
    """Half widths and centres of `count` shapes, px."""
    low, high = (0.18, 0.40) if count == 2 else (0.20, 0.60)
    while True:
        halves = [float(rng.uniform(low, high)) * min(size) / 2 for _ in range(count)]
        centres = _centres(rng, size, halves, stacked)
        if centres:
            return halves, centres


def draw(seed: int) -> tuple[Image.Image, str]:
    """The RGB image of `seed`, as read back from its PNG or JPEG, and its caption."""
    rng = np.random.default_rng(seed)
    size, count, stacked = _canvas(rng), int(rng.integers(1, 3)), bool(rng.integers(2))
    halves, centres = _arrange(rng, size, count, stacked)
    ground = str(rng.choice(["white", "gray"]))
    level = rng.uniform(250, 255) if ground == "white" else rng.uniform(128, 211)
    canvas = np.full((size[1], size[0], 3), level)
    samples = int(rng.choice([1, 3]))
    names = []
    for half, centre, colour in zip(
        halves, centres, rng.permutation(list(PALETTE))[:count], strict=True
    ):
        kind = str(rng.choice(KINDS))
        low, high = (0.38, 0.5) if kind == "star" else (0.866, 1.0)
        share = coverage(size, centre, half, kind, float(rng.uniform(low, high)), samples)
        canvas += share[..., None] * (_ink(rng, str(colour)) - canvas)
        names.append(f"{'an' if str(colour)[0] == 'o' else 'a'} {colour} {kind}")
    caption = f"{(' above ' if stacked else ' left of ').join(names)} on a {ground} background"
    return _stored(rng, Image.fromarray(np.rint(canvas).astype(np.uint8))), caption


def _stored(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    data = io.BytesIO()
    if rng.integers(2):
        image.save(data, "PNG", compress_level=1)
    else:
        image.save(data, "JPEG", quality=int(rng.integers(70, 96)))
    return Image.open(data).convert("RGB")
