"""Where webhooks may go and what they may tell of, as requests ask for it."""

from __future__ import annotations

from collections.abc import Iterable

from api.database.telling import EVENTS
from api.problems import Problem
from common.errors import UrlRefused
from common.settings import Settings
from common.url_guard import UrlGuard


def webhook_guard(settings: Settings) -> UrlGuard:
    """Without keys whoever asks is on this machine, and so may its receiver be."""
    return UrlGuard(settings.url_allowlist, loopback=not settings.auth_on)


def webhook_url(url: str, guard: UrlGuard) -> str:
    """The URL in the one spelling it has here: a receiver is known by its host.

    Raises Problem if nothing may ever be sent there.
    """
    try:
        return guard.check(url).url
    except UrlRefused as error:
        raise Problem("invalid_webhook", f"webhook: {error}") from error


def webhook_events(names: Iterable[str]) -> tuple[str, ...]:
    """Without repetitions. Raises Problem for a name that is none."""
    asked = tuple(dict.fromkeys(names))
    for name in asked:
        if name not in EVENTS:
            raise Problem(
                "unknown_event",
                f"There is no event {name[:60]!r}: say {', '.join(EVENTS[:-1])} or {EVENTS[-1]}.",
            )
    return asked
