"""Named places at which a process can be told to die, as by kill -9, to test what survives it.

`DARKROOM_CRASH_AT=recorder.after_commit` dies there the first time, `recorder.after_commit:0.02` by
chance, two times in a hundred; commas separate several. Unset, a place costs one look at a dict.
"""

from __future__ import annotations

import os
import random
import signal

from common.errors import SettingsInvalid

SETTING = "DARKROOM_CRASH_AT"
POINTS = (
    "api.before_put",
    "api.before_commit",
    "api.after_commit",
    "api.before_reply",
    "recorder.before_commit",
    "recorder.after_commit",
    "recorder.after_announcement",
    "sweeper.before_append",
    "sweeper.after_append",
    "notifier.before_post",
    "notifier.after_post",
    "consumer.received",
    "consumer.fetched",
    "consumer.ran",
    "consumer.stored",
    "consumer.told",
    "consumer.acknowledged",
    "engine.before_run",
    "engine.after_run",
)

_armed: dict[str, float] = {}  # point -> chance


def arm(wanted: str) -> None:
    """Of this process, what the setting says. Raises SettingsInvalid."""
    chances = {}
    for entry in filter(None, wanted.split(",")):
        point, _, chance = entry.strip().partition(":")
        try:
            chances[point] = float(chance or 1)
        except ValueError:
            chances[point] = -1.0
        if point not in POINTS or not 0 <= chances[point] <= 1:
            raise SettingsInvalid(
                f"{SETTING}: {entry!r} should be a point, or POINT:CHANCE with a chance from 0 to "
                f"1; the points are {', '.join(POINTS)}"
            )
    _armed.clear()
    _armed.update(chances)


def crash_point(name: str) -> None:
    """Die here, if told so. What dies says where on its standard error."""
    if _armed and random.random() < _armed.get(name, 0.0):
        os.write(2, f"crash point {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
