"""Names the colours of a picture: "mostly navy, with some orange and white"."""

from __future__ import annotations

from PIL import Image

from consumers.custom_infer import CustomModel

_COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "light gray": (200, 200, 200),
    "dark gray": (70, 70, 70),
    "red": (225, 30, 30),
    "dark red": (130, 15, 20),
    "orange": (255, 145, 25),
    "brown": (125, 75, 35),
    "beige": (235, 215, 180),
    "yellow": (250, 225, 45),
    "olive": (125, 125, 30),
    "green": (45, 165, 60),
    "dark green": (15, 85, 30),
    "light green": (155, 225, 145),
    "teal": (20, 135, 135),
    "turquoise": (70, 210, 205),
    "sky blue": (135, 200, 245),
    "blue": (35, 85, 220),
    "navy": (10, 20, 100),
    "purple": (125, 45, 165),
    "lavender": (190, 165, 230),
    "pink": (250, 150, 190),
    "magenta": (220, 30, 150),
}
_SIDE = 96  # px; the picture is looked at in this size
_LEAST = 0.04  # share of the picture from which a colour is worth a word
_MOST_NAMED = 4


class Palette(CustomModel):
    """Sorts every pixel to the nearest colour that has a name, and counts."""

    def load(self) -> None:
        self._palette = Image.new("P", (1, 1))
        self._palette.putpalette([level for colour in _COLOURS.values() for level in colour])

    def infer(self, image: Image.Image) -> str:
        small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
        named = small.quantize(palette=self._palette, dither=Image.Dither.NONE)
        shares = {
            name: count / _SIDE**2
            for name, count in zip(_COLOURS, named.histogram(), strict=False)
            if count >= _LEAST * _SIDE**2
        }
        return _sentence(shares)


def _sentence(shares: dict[str, float]) -> str:
    """Largest share first; "mostly" from half of the picture on."""
    first, *others = sorted(shares, key=lambda name: -shares[name])[:_MOST_NAMED]
    if not others:
        return f"all {first}"
    if shares[first] >= 0.5:
        return f"mostly {first}, with some {_listed(others)}"
    return _listed([first, *others])


def _listed(names: list[str]) -> str:
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last
