from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.failures import USERS_OWN, is_dead_letter

ENGINES = Path(__file__).resolve().parents[3] / "consumers"


@pytest.mark.parametrize(
    "code",
    ["engine_crashed", "consumer_lost", "out_of_memory", "event_rejected", "message_invalid",
     "input_missing", "custom_model_error", "a_code_of_tomorrow", None],
)  # fmt: skip
def test_what_happened_here_is_a_dead_letter(code: str | None) -> None:
    assert is_dead_letter(code)


@pytest.mark.parametrize("code", sorted(USERS_OWN))
def test_what_the_user_sent_is_none(code: str) -> None:
    assert not is_dead_letter(code)


def test_every_code_of_an_engines_bad_input_is_classed() -> None:
    """A new one must be decided on: as the user's own, or here as something to look at."""
    found = {
        code
        for file in ENGINES.rglob("*.py")
        for refusal in re.findall(r"BadInput\((.*?)\n\s*\)", file.read_text(), re.DOTALL)
        for code in re.findall(r'code="(\w+)"', refusal)
    }
    assert "invalid_parameter" in found
    assert found - USERS_OWN == {"custom_model_error"}  # its author's, not its user's
