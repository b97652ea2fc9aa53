from __future__ import annotations

import pytest

from cli.monitoring.amounts import count, end_of, span, start_of


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, "?"),
        (0, "0"),
        (999, "999"),
        (1_000, "1.0k"),
        (9_960, "10k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (2_000_000_000, "2.0G"),
    ],
)
def test_a_count_has_at_most_four_characters(number: int | None, shown: str) -> None:
    assert count(number) == shown
    assert len(shown) <= 4


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "?"),
        (0.0, "0 s"),
        (0.0001, "1 ms"),
        (0.999, "999 ms"),
        (0.9996, "1.0 s"),
        (9.96, "10 s"),
        (99.4, "99 s"),
        (99.5, "2 min"),
        (5_969.0, "99 min"),
        (5_970.0, "1.7 h"),
        (172_799.0, "48 h"),
        (200_000.0, "2 d"),
    ],
)
def test_a_span_has_its_unit_and_at_most_six_characters(seconds: float | None, shown: str) -> None:
    assert span(seconds) == shown
    assert len(shown) <= 6


def test_what_is_too_long_shows_that_something_is_missing() -> None:
    assert end_of("darkroom/pencil-sketch", 10) == "…il-sketch"
    assert start_of("It crashed\n the engine", 12) == "It crashed …"
    assert end_of("a/b", 3) == start_of("a/b", 3) == "a/b"
