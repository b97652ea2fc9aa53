"""Results on stdout: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A line for each row, however wide the terminal is: ids are there to be copied whole."""
    lines = [columns, *([" ".join(cell.split()) for cell in row] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


def print_json(value: object) -> None:
    """At once, though stdout is a pipe."""
    print(json.dumps(value, indent=2), flush=True)
