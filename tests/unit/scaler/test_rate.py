from __future__ import annotations

import pytest

from scaler.rate import WINDOW_SECONDS, Rate


def test_a_steady_growth_is_found() -> None:
    rate = Rate()
    for second in range(1000):
        rate.look(7 * second, float(second))
    assert rate.per_second == pytest.approx(7.0, rel=1e-3)


def test_a_burst_is_no_rate() -> None:
    rate = Rate()
    rate.look(0, 0.0)
    rate.look(6000, 0.5)
    assert rate.per_second < 6000 / WINDOW_SECONDS * 1.01
    rate.look(6000, 0.5 + 5 * WINDOW_SECONDS)
    assert rate.per_second < 1.0


def test_a_counter_that_begins_anew_tells_nothing() -> None:
    rate = Rate()
    rate.look(1000, 0.0)
    rate.look(1060, 60.0)
    before = rate.per_second
    rate.look(5, 61.0)
    assert rate.per_second == before
    rate.look(65, 121.0)
    assert rate.per_second == pytest.approx(before * 2.718281828**-1 + 1 - 2.718281828**-1)


def test_the_same_moment_twice_does_no_harm() -> None:
    rate = Rate()
    rate.look(1, 5.0)
    rate.look(2, 5.0)
    assert rate.per_second == 0.0
