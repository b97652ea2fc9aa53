from __future__ import annotations

import pytest

from cli.monitoring.rows import failures_of, models_of, workers_of
from cli.monitoring.source import Waiting
from tests.unit.cli.monitoring.seen import failure, letters, model, seen, worker

LONG = "an-owner-with-a-long-name/and-a-model-with-a-much-longer-one"


@pytest.mark.parametrize("width", [79, 99, 110, 149, 220])
def test_every_row_fits_the_terminal(width: int) -> None:
    found = seen(
        model(LONG, waiting=Waiting(999_499, 10**8, 0), drain_seconds=172_799.0),
        workers=(worker("a-host-name-42-abcdef", LONG, "01a20259-b36c-7251-b94a-d684ae625b31"),),
        failures=(failure(LONG, "message_invalid", 5.0, "x", count=10**6),),
    )
    for table in (
        models_of(found, "", width),
        workers_of(found, "", width),
        failures_of(found, "", width),
    ):
        assert sum(column.width + 1 for column in table.columns) <= width
        for cells in table.rows.values():
            assert [len(cell) for cell in cells] == [column.width for column in table.columns]


def test_models_with_something_to_tell_come_first() -> None:
    found = seen(
        model("a/idle"),
        model("a/waits", waiting=Waiting(0, 1, 0)),
        model("b/idle"),
        model("b/ready", state="ready"),
        model("b/failed", state="failed"),
        model("b/failing", failed_last_hour=1),
    )
    assert list(models_of(found, "", 79).rows) == [
        *("a/waits", "b/ready", "b/failed", "b/failing"),
        *("a/idle", "b/idle"),
    ]


def test_a_models_state_tells_how_many_workers_are_in_it() -> None:
    found = seen(
        model("a/b", state="ready"),
        model("a/c", state="failed"),
        workers=(worker("w1", "a/b"), worker("w2", "a/b")),
    )
    states = [cells[1].strip() for cells in models_of(found, "", 79).rows.values()]
    assert states == ["2 ready", "failed"]


def test_what_is_not_known_is_a_question_mark_and_never_a_zero() -> None:
    found = seen(model("a/b", waiting=None, drain_seconds=None))
    [cells] = models_of(found, "", 79).rows.values()
    assert [cell.strip() for cell in cells[2:]] == ["?", "?", "?", "0", "0/min", "?", "?"]


def test_a_wide_terminal_shows_why_jobs_wait() -> None:
    [cells] = models_of(seen(model("a/b")), "", 149).rows.values()
    assert cells[-1].strip() == "waiting for a consumer"


def test_a_job_that_is_not_ones_own_is_only_counted() -> None:
    found = seen(
        model("a/b"),
        workers=(
            worker("w1", "a/b", running=1),
            worker("w2", "a/b", running=3),
            worker("w3", "a/b"),
            worker("w4", "a/b", "ID"),
        ),
    )
    running = [cells[-1].strip() for cells in workers_of(found, "", 79).rows.values()]
    assert running == ["1 job", "3 jobs", "nothing", "ID"]


def test_failures_of_the_last_hour_and_dead_letters_with_one_cause_are_one_row() -> None:
    found = seen(
        model("a/b"),
        failures=(failure("a/b", "crash", 60, "new"), failure("a/b", "bad_input", 30, "bad", 2)),
        dead=[letters("a/b", "crash", 90, "old", 5), letters("a/b", "lost", 9_000, "older")],
        errors={"new": "of new", "bad": "The PNG is damaged."},
    )
    rows = [" ".join(" ".join(cells).split()) for cells in failures_of(found, "", 99).rows.values()]
    assert rows == [
        "a/b bad_input 2 0 30 s The PNG is damaged.",
        "a/b crash 1 5 60 s of new",
        "a/b lost 0 1 2.5 h of older",
    ]


def test_dead_letters_that_cannot_be_counted_are_unknown() -> None:
    found = seen(model("a/b"), failures=(failure("a/b", "crash", 60, "new"),), dead=None)
    [cells] = failures_of(found, "", 79).rows.values()
    assert [cell.strip() for cell in cells[2:4]] == ["1", "?"]


def test_a_filter_holds_for_every_table() -> None:
    found = seen(
        model("a/b"),
        model("a/c"),
        workers=(worker("w1", "a/b"), worker("w2", "a/c")),
        failures=(failure("a/b", "x", 1, "1"), failure("a/c", "x", 1, "2")),
    )
    for table in (models_of, workers_of, failures_of):
        assert list(table(found, "a/c", 79).models.values()) == ["a/c"]
