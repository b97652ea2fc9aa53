"""Text that any part of the system can hold."""

from __future__ import annotations


def shortened(text: str, most: int) -> str:
    """At most `most` characters of it, with a mark where it was cut."""
    return text if len(text) <= most else text[: most - 1] + "…"


def clean(text: str) -> str:
    """Without NUL and lone surrogates: neither a database nor UTF-8 can hold them."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")
