from __future__ import annotations

from dataclasses import replace

from scaler.launchers import Launched

ALIVE = Launched("w", "m")


def test_a_consumer_that_was_asked_to_stop_has_not_failed() -> None:
    assert not replace(ALIVE, stopping=True, exit_code=-15).failed
    assert not replace(ALIVE, exit_code=0).failed
    assert replace(ALIVE, exit_code=1).failed


def test_a_consumer_works_until_it_is_asked_to_stop_or_has_ended() -> None:
    assert ALIVE.works
    assert not replace(ALIVE, stopping=True).works
    assert not replace(ALIVE, exit_code=0).works
