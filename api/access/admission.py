"""Whether one more request, and one more job, is let in: 429 with the seconds until it may be."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from api.access.backlog import Backlog
from api.problems import RETRY_AFTER_SECONDS, Problem
from common.settings import Settings

LONGEST_RETRY_SECONDS = 3600

# Seconds that a model takes for so many jobs; None while its rate is not known.
DrainSeconds = Callable[[str, float], float | None]


class Admission:
    """The limits of the settings. Those of a key hold while keys are asked for."""

    def __init__(self, settings: Settings, backlog: Backlog, drain: DrainSeconds) -> None:
        self._settings, self._backlog, self._drain = settings, backlog, drain
        self._storage = MemoryStorage()
        self._limiter = MovingWindowRateLimiter(self._storage)
        self._most_of_key = settings.max_waiting_per_key if settings.auth_on else 0
        window = settings.key_burst_seconds
        self._rate = RateLimitItemPerSecond(settings.key_requests_per_second * window, window)

    async def close(self) -> None:
        """Stop what forgets old requests."""
        if self._storage.timer is not None:
            self._storage.timer.cancel()

    async def let_in(self, owner: str) -> None:
        """Count a request of the owner's keys. Raises Problem `rate_limited`."""
        if self._rate.amount == 0 or await self._limiter.hit(self._rate, owner):
            return
        stats = await self._limiter.get_window_stats(self._rate, owner)
        raise _later(
            "rate_limited",
            f"At most {self._settings.key_requests_per_second} requests a second are allowed, in "
            f"bursts of {self._rate.amount}: send the next one after Retry-After seconds.",
            stats.reset_time - time.time(),
        )

    def check_backlog(self, owner: str) -> None:
        """Before a job's body is read. Raises Problem `queue_full`."""
        for most, waiting, whose, models in (
            (self._most_of_key, self._backlog.of_owner(owner), "Your key", owner),
            (self._settings.max_waiting, self._backlog.total, "This server", None),
        ):
            if 0 < most <= waiting:
                room = waiting - most + max(1, most // 100)  # so that who comes again finds some
                raise _later(
                    "queue_full",
                    f"{whose} has {waiting} jobs that wait, and {most} are allowed: wait until "
                    "some have ended, or cancel some.",
                    self._shortest(self._backlog.models(models), room),
                )

    def check_model(self, model: str) -> None:
        """As soon as the model is known. Raises Problem `queue_full`."""
        most = self._settings.max_wait_seconds
        wait = self._drain(model, self._backlog.of_model(model))
        if wait is not None and 0 < most < wait:
            raise _later(
                "queue_full",
                f"A job of {model} would wait about {wait:.0f} seconds, and {most:g} are allowed: "
                "try later, or use another model.",
                wait - most,
            )

    def _shortest(self, models: Iterable[str], jobs: int) -> float:
        """Seconds until one of the models has done so many."""
        known = [wait for model in models if (wait := self._drain(model, jobs)) is not None]
        return min(known, default=float(RETRY_AFTER_SECONDS))


def _later(code: str, detail: str, seconds: float) -> Problem:
    after = min(max(math.ceil(seconds), 1), LONGEST_RETRY_SECONDS)
    return Problem(code, detail, headers={"Retry-After": str(after)})
