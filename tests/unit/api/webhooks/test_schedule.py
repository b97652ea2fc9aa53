"""When webhooks are sent again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from api.webhooks.schedule import delivered, next_delay, retry_after


def test_the_schedule_is_the_published_one() -> None:
    hour = 3600
    delays = [next_delay(attempts, chance=0.0) for attempts in range(1, 11)]
    assert delays == [
        5,
        5 * 60,
        30 * 60,
        2 * hour,
        5 * hour,
        10 * hour,
        14 * hour,
        20 * hour,
        24 * hour,
        None,
    ]


def test_jitter_adds_at_most_a_tenth() -> None:
    assert next_delay(2, chance=1.0) == pytest.approx(330)
    assert next_delay(2, chance=0.5) == pytest.approx(315)


def test_what_the_receiver_asks_for_counts_where_it_is_longer_and_at_most_a_day() -> None:
    assert next_delay(1, chance=0.0, retry_after=60.0) == 60
    assert next_delay(2, chance=0.0, retry_after=60.0) == 300
    assert next_delay(1, chance=0.0, retry_after=1e9) == 86_400
    assert next_delay(10, chance=0.0, retry_after=60.0) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120.0), ("0", 0.0), ("", None), (None, None), ("soon", None), ("-5", None)],
)
def test_retry_after_in_seconds(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now=0.0) == seconds


def test_retry_after_as_a_date() -> None:
    moment = datetime(2026, 11, 21, 12, tzinfo=UTC)
    now = moment.timestamp() - 90
    assert retry_after(format_datetime(moment, usegmt=True), now=now) == 90
    assert retry_after(format_datetime(moment, usegmt=True), now=now + 100) == 0


@pytest.mark.parametrize(
    ("code", "taken"),
    [
        (200, True),
        (204, True),
        (299, True),
        (301, False),
        (199, False),
        (500, False),
        (None, False),
    ],
)
def test_only_2xx_takes_a_webhook(code: int | None, taken: bool) -> None:
    assert delivered(code) is taken
