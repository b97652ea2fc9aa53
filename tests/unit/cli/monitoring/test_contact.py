from __future__ import annotations

import time

from cli.monitoring.contact import LATE_SECONDS, Contact
from cli.monitoring.source import Waiting
from tests.unit.cli.monitoring.seen import model, seen


def clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def test_an_answer_is_ready_until_it_is_late() -> None:
    contact = Contact("http://here")
    assert contact.lines(0.0) == (
        "Darkroom at http://here · waiting for the first answer",
        "nothing is known yet",
    )
    contact.answered(seen(), 100.0)
    assert contact.lines(101.0)[0] == f"Darkroom at http://here · ready · as of {clock(100.0)}"
    assert "SLOW: no answer for 3 s" in contact.lines(100.5 + LATE_SECONDS)[0]


def test_a_server_that_is_not_ready_says_why() -> None:
    contact = Contact("http://here")
    contact.answered(seen(unready="No answer from: log."), 100.0)
    first, second = contact.lines(100.0)
    assert ("NOT READY" in first, second) == (True, "No answer from: log.")


def test_the_first_failure_after_an_answer_is_the_one_that_counts() -> None:
    contact = Contact("http://here")
    contact.answered(seen(model("a/b")), 100.0)
    contact.failed("refused", 200.0)
    contact.failed("no answer within 5 s", 300.0)
    first, second = contact.lines(301.0)
    assert f"NO ANSWER since {clock(200.0)} · as of {clock(100.0)}" in first
    assert second == "no answer within 5 s"
    assert contact.stale
    contact.answered(seen(), 400.0)
    assert not contact.stale
    assert " · ready" in contact.lines(400.0)[0]


def test_what_is_paused_says_how_to_go_on() -> None:
    contact = Contact("http://here", paused=True)
    contact.answered(seen(), 1.0)
    assert "PAUSED" in contact.lines(500.0)[0]
    assert "p goes on" in contact.lines(500.0)[1]


def test_a_total_of_what_is_partly_unknown_is_unknown() -> None:
    contact = Contact("http://here")
    models = model("a/b", waiting=Waiting(1, 2, 3)), model("a/c", waiting=None)
    contact.answered(seen(*models[:1]), 1.0)
    assert "waiting 6 " in contact.lines(1.0)[1]
    contact.answered(seen(*models), 1.0)
    assert "waiting ? " in contact.lines(1.0)[1]
