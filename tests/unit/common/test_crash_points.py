from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from common.crash_points import POINTS, arm, crash_point
from common.errors import SettingsInvalid

PROJECT = Path(__file__).resolve().parents[3]


def died_at(wanted: str) -> subprocess.CompletedProcess[str]:
    code = (
        "from common.crash_points import arm, crash_point\n"
        f"arm({wanted!r})\n"
        "for _ in range(2000): crash_point('consumer.ran')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False
    )


def test_every_point_stands_at_one_place_in_the_code() -> None:
    sources = [
        path for room in ("api", "common", "consumers") for path in (PROJECT / room).rglob("*.py")
    ]
    placed = re.findall(r'\bcrash_point\("([^"]+)"\)', "\n".join(map(Path.read_text, sources)))
    assert Counter(placed) == Counter(POINTS)


@pytest.mark.parametrize(
    "wanted", ["consumer.ran", "consumer.ran:0.1", "api.before_put, consumer.ran:1"]
)
def test_a_process_dies_at_the_point_and_says_where(wanted: str) -> None:
    died = died_at(wanted)
    assert (died.returncode, died.stderr) == (-9, "crash point consumer.ran\n")


@pytest.mark.parametrize("wanted", ["", "consumer.ran:0", "engine.after_run"])
def test_it_lives_on_where_it_was_not_told_to_die(wanted: str) -> None:
    assert died_at(wanted).returncode == 0


@pytest.mark.parametrize(
    "wanted", ["consumer", "consumer.ran:2", "consumer.ran:often", "consumer.ran:nan", ":1"]
)
def test_what_names_no_point_is_refused_with_the_points(wanted: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"consumer\.acknowledged"):
        arm(wanted)
    crash_point("consumer.ran")
