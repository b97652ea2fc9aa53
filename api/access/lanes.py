"""Which topic carries a job, so that one key's many do not stand before others'. Pure.

docs/fairness.md publishes the bound that follows from it.
"""

from __future__ import annotations

from common.job import Priority

_LOWER = {
    Priority.HIGH: Priority.NORMAL,
    Priority.NORMAL: Priority.LOW,
    Priority.LOW: Priority.LOW,
}


def lane(asked: Priority, waiting: int, burst: int) -> Priority:
    """The topic for a job while `waiting` of its owner, model and priority wait already.

    The first `burst` go where they asked to, the next `burst` one lower, all others to the
    lowest. A burst of 0: all where they asked to.
    """
    if burst == 0:
        return asked
    chosen = asked
    for _ in range(min(waiting // burst, len(_LOWER))):
        chosen = _LOWER[chosen]
    return chosen
