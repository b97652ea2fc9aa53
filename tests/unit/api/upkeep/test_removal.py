"""When the day of an input's key is over."""

from __future__ import annotations

import time

import pytest

from api.submit import input_key
from api.upkeep.removal import is_settled

MIDNIGHT = 1_795_219_200.0  # 2026-11-21T00:00:00Z


@pytest.mark.parametrize(("after", "over"), [(-1, False), (3599, False), (3601, True)])
def test_a_day_is_over_an_hour_late_as_an_upload_may_have_begun_before_midnight(
    monkeypatch: pytest.MonkeyPatch, after: int, over: bool
) -> None:
    key = input_key("local", "ab", MIDNIGHT - 1)
    monkeypatch.setattr(time, "time", lambda: MIDNIGHT + after)
    assert is_settled(key) is over
