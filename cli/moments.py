"""Spans and moments of time as people type them: 30d, 12h, 2027-01-31, 2027-01-31T12:00Z."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from cli.errors import UsageWrong

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_SPAN = re.compile(r"(\d{1,6})([smhdw])")


def span(word: str) -> float | None:
    """Seconds; None for what is no span."""
    found = _SPAN.fullmatch(word)
    return found and float(int(found[1]) * _UNITS[found[2]])


def seconds(word: str, *, option: str) -> float:
    """A span, in seconds. Raises UsageWrong."""
    found = span(word)
    if found is None:
        raise UsageWrong(f"{option} {word}: say how long, as in 30d, 12h, 45m or 90s")
    return found


def moment(word: str, now: float, *, option: str) -> float:
    """A moment after `now`, both in seconds since the epoch; without a zone it is UTC.

    Raises UsageWrong.
    """
    lasting = span(word)
    if lasting is not None:
        at = now + lasting
    else:
        try:
            read = datetime.fromisoformat(word)
        except ValueError as error:
            raise UsageWrong(
                f"{option} {word}: say a span as in 30d, or a time as in 2027-01-31T12:00Z"
            ) from error
        at = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    if at <= now:
        raise UsageWrong(f"{option} {word}: that has passed already")
    return at
