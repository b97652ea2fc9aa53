"""Amounts in few characters, each with its unit; what is not known is a question mark."""

from __future__ import annotations

UNKNOWN = "?"
_MINUTE, _HOUR, _DAY = 60, 3600, 24 * 3600


def count(number: int | None) -> str:
    """At most four characters: 999, 1.2k, 120k, 3.4M."""
    if number is None:
        return UNKNOWN
    if number < 1000:
        return str(number)
    for unit, size in (("k", 1e3), ("M", 1e6)):
        if number < 999.5 * size:
            return _short(number / size) + unit
    return _short(number / 1e9) + "G"


def span(seconds: float | None) -> str:
    """At most six characters: 40 ms, 1.6 s, 12 min, 3.4 h, 12 d."""
    if seconds is None:
        return UNKNOWN
    if seconds <= 0:
        return "0 s"
    if seconds < 0.9995:
        return f"{max(round(seconds * 1000), 1)} ms"
    if seconds < 99.5:
        return f"{_short(seconds)} s"
    if seconds < 99.5 * _MINUTE:
        return f"{round(seconds / _MINUTE)} min"
    if seconds < 48 * _HOUR:
        return f"{_short(seconds / _HOUR)} h"
    return f"{round(seconds / _DAY)} d"


def ago(seconds: float) -> str:
    """How long it has been, in whole seconds: the clock of whoever said it may be ahead."""
    return span(seconds) if seconds >= 99.5 else f"{max(round(seconds), 0)} s"


def end_of(text: str, width: int) -> str:
    """What fits of a name whose end tells it from others."""
    return text if len(text) <= width else "…" + text[len(text) - width + 1 :]


def start_of(text: str, width: int) -> str:
    """What fits of a sentence, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def _short(number: float) -> str:
    return f"{number:.1f}" if number < 9.95 else str(round(number))
