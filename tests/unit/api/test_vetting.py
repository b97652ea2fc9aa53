"""What a consumer says is cleaned, and believed only about its own folder."""

from __future__ import annotations

import pytest

from api.vetting import cleaned, refusal
from common.events import JobFailed, JobProgress, JobSucceeded
from common.job import Output, OutputFile
from common.text import clean


def success(*keys: str, token: str = "t-1", text: str | None = None) -> JobSucceeded:
    files = tuple(OutputFile(key=key, content_type="image/png", size=1) for key in keys)
    output = Output(text=text, files=files)
    return JobSucceeded(job="j", token=token, at=1.0, output=output, predict_time=1.0, logs="a\0b")


def test_nul_and_lone_surrogates_are_stripped() -> None:
    assert clean("a\0b\ud800c\udfffd🦊é") == "abcd🦊é"


def test_every_text_for_the_user_is_cleaned() -> None:
    event = cleaned(success(text="x\0\ud800"))
    assert isinstance(event, JobSucceeded)
    assert (event.output.text, event.logs) == ("x", "ab")
    failed = JobFailed(job="j", token="t", at=1.0, code="a\0", error="b\0", logs="c\0")
    assert cleaned(failed) == JobFailed(job="j", token="t", at=1.0, code="a", error="b", logs="c")
    progress = JobProgress(job="j", token="t", at=1.0, fraction=0.5)
    assert cleaned(progress) is progress


def test_outputs_in_the_own_folder_are_believed() -> None:
    assert refusal(success()) is None
    assert refusal(success("outputs/j/t-1/0.png", "outputs/j/t-1/1.tar.gz")) is None


@pytest.mark.parametrize(
    "key",
    [
        "",
        "0.png",
        "outputs/j/t-1/",
        "outputs/j/t-1",
        "outputs/j/t-1/..",
        "outputs/j/t-1/.hidden",
        "outputs/j/t-1/a/0.png",
        "outputs/j/t-1/../t-2/0.png",
        "outputs/j/t-2/0.png",
        "outputs/i/t-1/0.png",
        "/outputs/j/t-1/0.png",
        "outputs/j/t-1/0 .png",
        "outputs/j/t-1/0.png\n",
    ],
)
def test_outputs_elsewhere_are_refused(key: str) -> None:
    assert refusal(success("outputs/j/t-1/0.png", key)) is not None


def test_a_token_that_climbs_is_refused() -> None:
    assert refusal(success("outputs/j/../i/t/0.png", token="../i/t")) is not None
