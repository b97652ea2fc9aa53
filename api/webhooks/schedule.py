"""When a webhook is sent, and sent again. Pure."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

# Seconds from the attempt before (from the event, for the first) to each attempt.
SCHEDULE = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
JITTER = 0.1  # the most that is added, as a part of the delay
LONGEST_RETRY_AFTER = 86_400.0  # seconds that a receiver may ask for


def delivered(code: int | None) -> bool:
    """Whether a reply with this code takes the webhook. A redirect does not."""
    return code is not None and HTTPStatus.OK <= code < HTTPStatus.MULTIPLE_CHOICES


def next_delay(attempts: int, *, chance: float, retry_after: float | None = None) -> float | None:
    """Seconds to wait after `attempts` (1 or more) failed ones; None: it was the last.

    `chance` is from 0 to 1. What the receiver asked for counts where it is longer.
    """
    if attempts >= len(SCHEDULE):
        return None
    delay = SCHEDULE[attempts] * (1 + JITTER * chance)
    return max(delay, min(retry_after or 0.0, LONGEST_RETRY_AFTER))


def retry_after(header: str | None, *, now: float) -> float | None:
    """Seconds that the header Retry-After asks for, which holds seconds or a date."""
    if not header:
        return None
    if header.isascii() and header.isdecimal():
        return float(header[:9])
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(moment.timestamp() - now, 0.0)
