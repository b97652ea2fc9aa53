from __future__ import annotations

import pytest

from api.intake.time_limits import cancel_at_of, check_start_by, start_by_of
from api.problems import Problem

NOW = 1_795_255_200.0  # 2026-11-21T10:00:00Z


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("5s", 5),
        ("30", 30),
        ("90s", 90),
        ("5m", 300),
        ("1m30s", 90),
        ("1h30m45s", 5445),
        ("2H", 7200),
        (" 1d ", 86_400),
        ("366d", 366 * 86_400),
    ],
)
def test_a_duration_is_read_as_replicate_writes_it(words: str, seconds: int) -> None:
    assert cancel_at_of(words, NOW) == NOW + seconds


@pytest.mark.parametrize(
    "words", ["", "4s", "0m", "soon", "-30s", "30s1m", "1.5h", "5ms", "367d", "9" * 5000, "٣٠s!"]
)
def test_what_is_no_duration_is_refused_with_its_form(words: str) -> None:
    with pytest.raises(Problem, match="1h30m") as refused:
        cancel_at_of(words, NOW)
    assert (refused.value.code, refused.value.status) == ("invalid_cancel_after", 422)


def test_without_limits_there_are_none() -> None:
    assert cancel_at_of(None, NOW) is None
    assert start_by_of(None, NOW) is None
    assert start_by_of("", NOW) is None  # an empty field of a form


@pytest.mark.parametrize(
    ("given", "at"),
    [
        (60, NOW + 60),
        (0.5, NOW + 0.5),
        ("90", NOW + 90),
        ("2026-11-21T10:00:01Z", NOW + 1),
        ("2026-11-21T12:00:00+01:00", NOW + 3600),
        ("2026-11-21T10:30:00", NOW + 1800),
    ],
)
def test_a_start_deadline_is_seconds_from_now_or_a_time(given: float | str, at: float) -> None:
    assert start_by_of(given, NOW) == at


@pytest.mark.parametrize("given", [0, -1, "-0.5", "2026-11-21T10:00:00Z", "2001-01-01"])
def test_a_start_deadline_in_the_past_is_refused(given: float | str) -> None:
    with pytest.raises(Problem, match="later time") as refused:
        check_start_by(start_by_of(given, NOW), NOW)
    assert (refused.value.code, refused.value.status) == ("start_by_passed", 422)


@pytest.mark.parametrize("given", ["soon", "nan", "inf", "2026-13-01", 1e300, "9999-12-31", "1e9"])
def test_what_is_no_start_deadline_is_refused(given: float | str) -> None:
    with pytest.raises(Problem, match="seconds from now") as refused:
        start_by_of(given, NOW)
    assert (refused.value.code, refused.value.status) == ("invalid_start_by", 422)
