"""What a model's line, the settings and a change while it runs come to."""

from __future__ import annotations

from common.catalogue import ModelSpec
from common.scaling import ModelScaling, Rules, rules_of, usual_rules
from common.settings import Settings

USUAL = Rules(target=7, cooldown=8, hold_down=9)
LINE = ModelSpec(name="o/m", min=2, max=3, target=1, cooldown=0, hold_down=0)


def test_a_line_that_says_nothing_has_the_settings_and_one_consumer() -> None:
    assert rules_of(ModelSpec(name="o/m"), USUAL, 4) == Rules(0, 1, 7, 8, 9)


def test_what_a_line_says_goes_before_zero_included() -> None:
    assert rules_of(LINE, USUAL, 4) == Rules(2, 3, 1, 0, 0)


def test_without_a_max_it_may_have_one_on_each_device() -> None:
    usual = usual_rules(Settings(), copies=2)
    assert rules_of(ModelSpec(name="o/m"), usual, 4).maximum == 2
    assert rules_of(ModelSpec(name="o/m", max=1), usual, 4).maximum == 1


def test_a_minimum_without_a_max_is_the_most() -> None:
    assert rules_of(ModelSpec(name="o/m", min=3), USUAL, 4) == Rules(3, 3, 7, 8, 9)


def test_there_are_never_more_consumers_than_partitions() -> None:
    assert rules_of(ModelSpec(name="o/m", min=8, max=9), USUAL, 4) == Rules(4, 4, 7, 8, 9)


def test_what_was_changed_while_it_runs_goes_before_the_line() -> None:
    changed = ModelScaling(min=0, max=4, target=2.5, cooldown=60.0, hold_down=0.0)
    assert rules_of(LINE, USUAL, 4, changed) == Rules(0, 4, 2.5, 60, 0)


def test_a_lower_max_lowers_the_line_s_minimum_too() -> None:
    assert rules_of(LINE, USUAL, 4, ModelScaling(max=1)) == Rules(1, 1, 1, 0, 0)
