"""What an event does to a job, whatever came before it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.database.attempts import Standing
from common.events import (
    JobCanceled,
    JobEvent,
    JobFailed,
    JobProgress,
    JobReleased,
    JobStarted,
    JobSucceeded,
)
from common.job import TRANSITIONS, JobState, Output

token = st.sampled_from(["a", "b", "c", "d", "e", "f", "g"])
at = st.floats(0, 100)


def _of(kind: type[JobEvent], **fields: st.SearchStrategy[object]) -> st.SearchStrategy[JobEvent]:
    return st.builds(kind, job=st.just("j"), token=token, at=at, **fields)


progress = _of(JobProgress, fraction=st.floats(-1, 2))
started = _of(JobStarted, worker=st.just("w"))
released = _of(JobReleased, reason=st.just("r"))
ends = st.one_of(
    _of(JobSucceeded, output=st.just(Output(text="x")), predict_time=st.just(1.0)),
    _of(JobFailed, code=st.just("c"), error=st.just("e")),
    _of(JobCanceled),
)
events = st.lists(st.one_of(started, started, released, progress, ends), max_size=30)


def new_standing() -> Standing:
    return Standing(
        job="j",
        owner="o",
        model="o/m",
        state=JobState.STARTING,
        sequence=0,
        attempt=0,
        token=None,
        started_at=None,
        progress=None,
    )


@given(events)
def test_a_job_moves_only_as_it_may_and_every_move_is_counted(events: list[JobEvent]) -> None:
    standing = new_standing()
    for event in events:
        state, sequence, shown = standing.state, standing.sequence, standing.progress
        standing.take(event)
        if standing.state is not state:
            assert standing.state in TRANSITIONS[state]
        if (standing.state, standing.progress) != (state, shown):
            assert standing.sequence == sequence + 1
        assert (standing.token is not None) == (standing.state is JobState.PROCESSING)
        assert standing.attempt == len(standing.attempts) - (
            standing.end is not None and standing.end.error_code == "consumer_lost"
        )


def _in_order(events: list[JobEvent]) -> list[JobEvent]:
    """Without what an attempt says before its start: the log keeps a job's messages in order."""
    seen: set[str] = set()
    kept: list[JobEvent] = []
    for event in events:
        if isinstance(event, JobStarted):
            seen.add(event.token)
        if not isinstance(event, JobReleased | JobProgress) or event.token in seen:
            kept.append(event)
    return kept


def _visible(standing: Standing) -> tuple[object, ...]:
    return standing.state, standing.sequence, standing.attempt, standing.token, standing.progress


@given(events)
def test_events_that_come_again_change_nothing(events: list[JobEvent]) -> None:
    standing = new_standing()
    for event in _in_order(events):
        standing.take(event)
    visible, attempts, end = _visible(standing), set(standing.attempts), standing.end
    for event in _in_order(events):
        standing.take(event)
    assert (_visible(standing), set(standing.attempts), standing.end) == (visible, attempts, end)


def test_the_first_end_stays() -> None:
    standing = new_standing()
    standing.take(JobFailed(job="j", token="a", at=1.0, code="first", error="e"))
    standing.take(JobFailed(job="j", token="b", at=1.0, code="second", error="e"))
    assert standing.end is not None
    assert standing.end.error_code == "first"
    assert not standing.stray_start


def test_the_sixth_start_after_five_lost_ones_ends_the_job() -> None:
    standing = new_standing()
    for number in range(5):
        standing.take(JobStarted(job="j", token=str(number), at=1.0, worker="w"))
    assert standing.end is None
    standing.take(JobReleased(job="j", token="0", at=1.0, reason="r"))
    standing.take(JobStarted(job="j", token="5", at=1.0, worker="w"))
    assert standing.end is None
    standing.take(JobStarted(job="j", token="6", at=1.0, worker="w"))
    assert standing.end is not None
    assert standing.end.error_code == "consumer_lost"
    assert standing.stray_start


def test_the_release_of_an_older_attempt_leaves_the_running_one() -> None:
    standing = new_standing()
    for token in ("a", "b"):
        standing.take(JobStarted(job="j", token=token, at=1.0, worker="w"))
    standing.take(JobReleased(job="j", token="a", at=2.0, reason="late"))
    assert (standing.state, standing.token) == (JobState.PROCESSING, "b")
    standing.take(JobReleased(job="j", token="b", at=3.0, reason="stop"))
    assert (standing.state, standing.token) == (JobState.STARTING, None)
