"""How long a job may wait, and how long it may take, as its user says it."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from api.problems import Problem

SHORTEST_SECONDS = 5  # of Cancel-After
LONGEST_SECONDS = 366 * 86_400

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
_UNITS = (86_400, 3_600, 60, 1)  # seconds in a day, an hour, a minute, a second


def cancel_at_of(cancel_after: str | None, now: float) -> float | None:
    """When `Cancel-After` ends the job, in seconds since the epoch. Raises Problem."""
    if cancel_after is None:
        return None
    found = _DURATION.fullmatch(cancel_after.strip().lower())
    seconds = 0
    if found is not None and len(cancel_after) < 40:
        numbers = zip(found.groups(), _UNITS, strict=True)
        seconds = sum(int(number or 0) * unit for number, unit in numbers)
    if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        raise Problem(
            "invalid_cancel_after",
            f"Cancel-After: {cancel_after[:60]!r} is no time from 5s to 366d: write it as 30s, "
            "5m, 1h30m or 2d.",
        )
    return now + seconds


def start_by_of(start_by: float | str | None, now: float) -> float | None:
    """When an unstarted job is given up, in seconds since the epoch. Raises Problem.

    It may have passed: a request that is sent again still shows the job that it made.
    """
    if start_by is None or start_by == "":
        return None
    moment = _moment(start_by, now)
    if moment is None or not moment <= now + LONGEST_SECONDS:
        raise Problem(
            "invalid_start_by",
            f"start_by: {str(start_by)[:60]!r} is neither a number of seconds from now (at most "
            f"{LONGEST_SECONDS}) nor a time such as 2026-11-21T18:00:00Z.",
        )
    return moment


def check_start_by(start_by: float | None, now: float) -> None:
    """Of a new job. Raises Problem `start_by_passed`."""
    if start_by is not None and start_by <= now:
        raise Problem(
            "start_by_passed",
            "start_by is not in the future: give a later time, or leave it out.",
        )


def _moment(start_by: float | str, now: float) -> float | None:
    """None for what is neither a duration nor a time."""
    try:
        seconds = float(start_by)
    except ValueError:
        pass
    else:
        return now + seconds if math.isfinite(seconds) else None
    try:
        moment = datetime.fromisoformat(str(start_by).strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
