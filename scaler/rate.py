"""How fast a counter grows. Pure: the clock is passed in."""

from __future__ import annotations

import math

WINDOW_SECONDS = 60.0


class Rate:
    """The counter's growth a second: an average in which what is a window old weighs 1/e.

    What was before the first look counts as no growth: a burst then is no rate.
    """

    def __init__(self, window: float = WINDOW_SECONDS) -> None:
        self._window = window
        self._last: tuple[int, float] | None = None
        self.per_second = 0.0

    def look(self, count: int, now: float) -> None:
        """The counter's value. One that falls has begun anew, which tells nothing."""
        if self._last is not None and count >= self._last[0] and now > self._last[1]:
            before, at = self._last
            old = math.exp((at - now) / self._window)
            self.per_second *= old
            self.per_second += (count - before) / (now - at) * (1 - old)
        self._last = count, now
