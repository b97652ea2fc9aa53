"""Counts the pictures whose caption is exactly right.

    python -m models.shapes.evaluate --pictures 1000
    python -m models.shapes.evaluate --pictures 500 --renderer independent

Loads the model as any program would: AutoProcessor, AutoModelForImageTextToText, generate().
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image

from . import draw, draw_independent

WEIGHTS = Path(__file__).parent / "weights"
AT_ONCE = 50  # pictures in a batch
Drawn = tuple[Image.Image, str]


def captioner(path: Path) -> Callable[[list[Image.Image]], list[str]]:
    """A function from RGB images to captions."""
    hf: Any = transformers  # its from_pretrained carries no types
    processor = hf.AutoProcessor.from_pretrained(path)
    model = hf.AutoModelForImageTextToText.from_pretrained(path)

    def captions(images: list[Image.Image]) -> list[str]:
        pixels = processor(images=images, return_tensors="pt").pixel_values
        with torch.no_grad():
            ids = model.generate(pixel_values=pixels)
        said: list[str] = processor.batch_decode(ids, skip_special_tokens=True)
        return said

    return captions


def pictures(renderer: str, count: int, seed: int) -> Iterator[Drawn]:
    """`count` pictures with their captions; none is among those that the training draws."""
    for index in range(count):
        if renderer == "independent":
            yield draw_independent.draw(seed * 1_000_000 + index)
        else:
            yield draw.draw(f"evaluate {seed} {index}")


def main() -> None:
    """Read the command line, and print every wrong caption and the count of right ones."""
    parser = argparse.ArgumentParser(description="Counts the pictures captioned exactly right.")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--renderer", choices=("draw", "independent"), default="draw")
    given = parser.parse_args()
    caption, right, began = captioner(given.weights), 0, time.monotonic()
    source = pictures(given.renderer, given.pictures, given.seed)
    while drawn := list(islice(source, AT_ONCE)):
        for said, (_, wanted) in zip(caption([i for i, _ in drawn]), drawn, strict=True):
            right += said == wanted
            if said != wanted:
                print(f"said: {said}\n want: {wanted}")
    seconds = time.monotonic() - began
    print(f"{right} of {given.pictures} exactly right ({given.renderer}, {seconds:.0f} s)")


if __name__ == "__main__":
    main()
