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
        return np.less_equal(x * x + y * y, 1.0)
    if kind == "square":
        return np.less_equal(np.maximum(np.abs(x), np.abs(y)), 1.0)
    if kind == "triangle":  # its centre is the centroid, 2/3 of the height below the tip
        height = 2 * ratio
        down = (y + height * 2 / 3) / height  # 0 at the tip, 1 at the base
        return (down <= 1.0) & (np.abs(x) <= down)
    # A star is one wedge of 36 degrees, mirrored and turned: fold every point into the wedge.
    angle = np.abs((np.arctan2(x, -y) + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    radius = np.hypot(x, y)
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    notch_x, notch_y = ratio * np.cos(np.pi / 5), ratio * np.sin(np.pi / 5)
    wedge: NDArray[np.bool_] = across * (1 - notch_x) <= notch_y * (1 - along)
    return wedge


def coverage(
    size: tuple[int, int],
    centre: tuple[float, float],
    half: float,
    kind: str,
    ratio: float,
    samples: int,
) -> Grid:
    """(height, width), the share of each pixel in the shape, from samples x samples points."""
    width, height = size
    columns = (np.arange(width * samples) + 0.5) / samples
    rows = (np.arange(height * samples) + 0.5) / samples
    x, y = np.meshgrid((columns - centre[0]) / half, (rows - centre[1]) / half)
    mask = inside(kind, x, y, ratio).reshape(height, samples, width, samples)
    share: Grid = mask.mean(axis=(1, 3), dtype=np.float64)
    return share


def _ink(rng: np.random.Generator, name: str) -> Grid:
    """(3,), a shade of the colour in levels."""
    code = str(rng.choice(PALETTE[name]))
    base = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float64)
    return np.clip(base + rng.uniform(-8, 8, 3), 0, 255)


def _centres(
    rng: np.random.Generator, size: tuple[int, int], reaches: list[float], stacked: bool
) -> list[tuple[float, float]] | None:
    """Centres of the shape named first and of the other, or None where the try fails.

    No point of a shape is farther from its centre than its reach, along either axis.
    """
    centres = [(float(rng.uniform(0, size[0])), float(rng.uniform(0, size[1])))]
    if len(reaches) == 2:
        lead = float(rng.uniform(1.02, 1.8)) * sum(reaches)
        aside = float(rng.uniform(-1, 1)) * lead / 1.5
        dx, dy = (aside, lead) if stacked else (lead, aside)
        centres.append((centres[0][0] + dx, centres[0][1] + dy))
    whole = all(
        reach <= at <= side - reach
        for centre, reach in zip(centres, reaches, strict=True)
        for at, side in zip(centre, size, strict=True)
    )
    return centres if whole else None


def _canvas(rng: np.random.Generator) -> tuple[int, int]:
    """Width and height, px."""
    aspects = [(4, 3), (1, 1), (3, 4), (5, 4), (7, 8)]
    wide, high = aspects[int(rng.integers(len(aspects)))]
    unit = int(rng.integers(96, 769)) / min(wide, high)
    return round(wide * unit), round(high * unit)


def _arrange(
    rng: np.random.Generator, size: tuple[int, int], kinds: list[str], stacked: bool
) -> tuple[list[float], list[tuple[float, float]]]:
    """Half widths and centres of the shapes, px."""
    low, high = (0.18, 0.40) if len(kinds) == 2 else (0.20, 0.60)
    while True:
        halves = [float(rng.uniform(low, high)) * min(size) / 2 for _ in kinds]
        # A triangle as high as wide has its tip 4 / 3 half widths above its centroid.
        reaches = [
            half * (4 / 3 if kind == "triangle" else 1.0)
            for half, kind in zip(halves, kinds, strict=True)
        ]
        centres = _centres(rng, size, reaches, stacked)
        if centres:
            return halves, centres


def draw(seed: int) -> tuple[Image.Image, str]:
    """The RGB image of `seed`, as read back from its PNG or JPEG, and its caption."""
    rng = np.random.default_rng(seed)
    size, count, stacked = _canvas(rng), int(rng.integers(1, 3)), bool(rng.integers(2))
    kinds = [str(kind) for kind in rng.choice(KINDS, count)]
    colours = [str(colour) for colour in rng.permutation(list(PALETTE))[:count]]
    halves, centres = _arrange(rng, size, kinds, stacked)
    ground = str(rng.choice(["white", "gray"]))
    level = rng.uniform(250, 255) if ground == "white" else rng.uniform(128, 211)
    canvas = np.full((size[1], size[0], 3), level)
    samples = int(rng.choice([1, 3]))
    for half, centre, kind, colour in zip(halves, centres, kinds, colours, strict=True):
        ratio = float(rng.uniform(0.38, 0.5) if kind == "star" else rng.uniform(0.866, 1.0))
        share = coverage(size, centre, half, kind, ratio, samples)
        canvas += share[..., None] * (_ink(rng, colour) - canvas)
    named = [
        f"{'an' if colour[0] == 'o' else 'a'} {colour} {kind}"
        for colour, kind in zip(colours, kinds, strict=True)
    ]
    caption = f"{(' above ' if stacked else ' left of ').join(named)} on a {ground} background"
    return _stored(rng, Image.fromarray(np.rint(canvas).astype(np.uint8))), caption


def _stored(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    data = io.BytesIO()
    if rng.integers(2):
        image.save(data, "PNG", compress_level=1)
    else:
        image.save(data, "JPEG", quality=int(rng.integers(70, 96)))
    return Image.open(data).convert("RGB")
