"""Which keys there are. Both adapters ask here before they touch anything."""

from __future__ import annotations

import re

LONGEST_KEY = 512  # characters
LONGEST_PART = 255  # characters between two slashes: what file systems, MinIO's too, can name

_CHARACTERS = re.compile(r"[A-Za-z0-9._/-]+")


def check_key(key: str) -> str:
    """The key itself. Raises ValueError for anything that could leave its place."""
    if not _CHARACTERS.fullmatch(key) or len(key) > LONGEST_KEY:
        raise ValueError(
            f"{key[:80]!r} is not an object key: use at most {LONGEST_KEY} of [A-Za-z0-9._/-]"
        )
    for part in key.split("/"):
        if part in ("", ".", "..") or len(part) > LONGEST_PART:
            raise ValueError(
                f"{key[:80]!r} is not an object key: each part between slashes has from 1 to "
                f"{LONGEST_PART} characters and is neither . nor .."
            )
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself: empty, a key, or a key and a slash. Raises ValueError."""
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix


def folder_of(prefix: str) -> str:
    """The whole parts of a prefix, without the last slash: `a/b` of `a/b/c` and of `a/b/`."""
    return prefix.rpartition("/")[0]
