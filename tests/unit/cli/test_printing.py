from __future__ import annotations

import pytest

from cli.printing import print_table


def test_a_cell_is_shown_whole_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    id, error = "019aa5f0-2c44-7b1e-9d6f-3f0c8a51e7d2_completed", "it failed " * 30
    print_table(("id", "state", "error"), [(id, "exhausted", error)])
    head, row = capsys.readouterr().out.splitlines()
    assert row == f"{id}  exhausted  {error.strip()}"
    assert head.index("state") == row.index("exhausted")


def test_a_row_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "error"), [("1", "first\n  second"), ("2", "")])
    assert capsys.readouterr().out.splitlines() == ["id  error", "1   first second", "2"]
