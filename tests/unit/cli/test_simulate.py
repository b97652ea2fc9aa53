"""`darkroom simulate`, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.__main__ import app
from cli.exit_codes import ExitCode
from cli.simulate import HEADINGS, SHOWN, Pattern
from scaler.simulation.traces import PATTERNS


def simulated(*words: str) -> Result:
    return CliRunner().invoke(app, ["simulate", *words], env={"COLUMNS": "120"})


def test_every_pattern_can_be_asked_for() -> None:
    assert [pattern.value for pattern in Pattern] == list(PATTERNS)


def test_it_prints_three_rules_and_our_decisions_with_their_reasons() -> None:
    shown = simulated("--pattern", "burst", "--rate", "1", "--hours", "1")
    assert shown.exit_code == ExitCode.OK
    for words in (*HEADINGS, "darkroom", "keda", "always on"):
        assert words in shown.stdout
    assert "model-1: 0 -> " in shown.stdout
    assert "target 30 s" in shown.stdout
    assert shown.stdout.count("model-1: ") == SHOWN
    assert "more decisions" in shown.stdout


def test_a_trace_is_simulated_into_json_and_drawn(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("second,model,jobs\n0,m,3\n60,m,1\n")
    picture = tmp_path / "picture.png"
    shown = simulated(str(tmp_path / "trace.csv"), "--json", "--picture", str(picture))
    assert shown.exit_code == ExitCode.OK
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [line["rule"] for line in lines] == ["darkroom", "keda", "always on"]
    assert lines[0]["wait_p50"] == 20.0  # the cold start
    assert lines[0]["unfinished"] == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["no-such.csv"], "no-such.csv cannot be read"),
        (["--rate", "0"], "--rate"),
        (["--rate", "0.0001", "--hours", "0.01"], "no job arrives"),
        (["--cold-start", "inf"], "--cold-start"),
        (["--pattern", "tidal"], "--pattern"),
        (
            ["--pattern", "poisson", "--hours", "0.01", "--picture", "/no-such-folder/picture.png"],
            "no-such-folder",
        ),
    ],
)
def test_what_makes_no_sense_is_said_and_ends_with_2(words: list[str], reason: str) -> None:
    shown = simulated(*words)
    assert shown.exit_code == ExitCode.USAGE
    assert reason in shown.output
