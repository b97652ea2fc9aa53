from __future__ import annotations

import ast
from pathlib import Path

import pytest

from common.failures import USERS_OWN, is_dead_letter

CONSUMERS = Path(__file__).resolve().parents[3] / "consumers"


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
        code.value
        for file in CONSUMERS.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "BadInput"
        for code in (*call.args[1:2], *(word.value for word in call.keywords))
        if isinstance(code, ast.Constant)
    }
    assert "invalid_parameter" in found
    # Its author's, not its user's; and a network that may have been ours.
    assert found - USERS_OWN == {"custom_model_error", "image_url_unreachable"}
