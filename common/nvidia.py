"""NVIDIA's devices, as their driver lists them.

Of the standard library alone: `make secrets` imports this before anything is installed.
"""

from __future__ import annotations

import re

NVIDIA_SMI = ("nvidia-smi", "-L")
# A GPU that is divided (MIG) lists its parts below it, and only they can be used.
_LISTED = re.compile(r"UUID: ((GPU|MIG)-[^)]+)\)")


def uuids(listing: str) -> list[str]:
    """Of the devices in what NVIDIA_SMI prints; parts in place of what is divided."""
    found: list[str] = []
    for uuid, kind in _LISTED.findall(listing):
        if kind == "MIG" and found and found[-1].startswith("GPU-"):
            found.pop()
        found.append(uuid)
    return found
