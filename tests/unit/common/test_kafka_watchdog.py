"""When a subscription counts as stuck."""

from __future__ import annotations

from common.job_log.kafka.watchdog import Watchdog


def test_a_subscription_without_an_assignment_is_stuck_after_the_patience() -> None:
    watchdog = Watchdog(30, now=0)

    assert watchdog.verdict(29, settled=False, behind=False, received=0) is None
    assert watchdog.verdict(30, settled=False, behind=False, received=0) == "no assignment"


def test_messages_that_wait_and_do_not_come_are_a_sign() -> None:
    watchdog = Watchdog(30, now=0)

    assert watchdog.verdict(10, settled=True, behind=False, received=0) is None
    assert watchdog.verdict(39, settled=True, behind=True, received=0) is None
    assert watchdog.verdict(40, settled=True, behind=True, received=0) is not None


def test_whoever_receives_is_not_stuck_however_much_is_waiting() -> None:
    watchdog = Watchdog(30, now=0)

    for count in range(1, 100):
        assert watchdog.verdict(count * 10, settled=True, behind=True, received=count) is None


def test_a_job_of_hours_is_no_sign() -> None:
    watchdog = Watchdog(30, now=0)

    for hour in range(1, 10):
        assert watchdog.verdict(hour * 3600, settled=True, behind=False, received=1) is None
