"""Text that any part of the system can hold."""

from __future__ import annotations


def clean(text: str) -> str:
    """Without NUL and lone surrogates: neither a database nor UTF-8 can hold them."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")
