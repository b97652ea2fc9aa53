from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.errors import ItemFailed
from cli.exit_codes import ExitCode
from cli.report import Report

FOLDER = Path("pictures")


def report(*, quiet: bool = False) -> Report:
    report = Report(FOLDER, total=5, skipped=1, quiet=quiet)
    with report:
        report.waits("waiting for a consumer")
        report.done()
        report.done()
        report.failed(FOLDER / "sub" / "[b].jpg", ItemFailed("It is cut off.", "truncated_image"))
    return report


def test_lines_for_people_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    report().tell(as_json=False)
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        "2 done, 1 finished before, 1 failed, 1 left\n  sub/[b].jpg: It is cut off.\n"
    )


def test_json_for_programs_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    report().tell(as_json=True)
    output = capsys.readouterr()
    assert output.err == ""
    assert json.loads(output.out) == {
        "total": 5,
        "done": 2,
        "skipped": 1,
        "failed": [{"file": "sub/[b].jpg", "error": "It is cut off.", "code": "truncated_image"}],
        "left": 1,
    }


def test_a_quiet_batch_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report(quiet=True).tell(as_json=False)
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "")


def test_the_exit_code_tells_of_failures() -> None:
    assert report().exit_code is ExitCode.SOME_FAILED
    assert Report(FOLDER, total=1, skipped=1, quiet=True).exit_code is ExitCode.OK
