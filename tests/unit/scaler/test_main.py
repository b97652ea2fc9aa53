"""What a model's line and the settings come to."""

from __future__ import annotations

from common.catalogue import ModelSpec
from common.settings import Settings
from scaler.__main__ import rules_of
from scaler.observation import Rules

SETTINGS = Settings(target_seconds=7, cooldown_seconds=8, hold_down_seconds=9, partitions=4)


def test_a_line_that_says_nothing_has_the_settings_and_one_consumer() -> None:
    assert rules_of(ModelSpec(name="o/m"), SETTINGS) == Rules(0, 1, 7, 8, 9)


def test_what_a_line_says_goes_before_zero_included() -> None:
    model = ModelSpec(name="o/m", min=2, max=3, target=1, cooldown=0, hold_down=0)
    assert rules_of(model, SETTINGS) == Rules(2, 3, 1, 0, 0)


def test_a_minimum_without_a_max_is_the_most() -> None:
    assert rules_of(ModelSpec(name="o/m", min=3), SETTINGS) == Rules(3, 3, 7, 8, 9)


def test_without_a_max_it_may_have_one_on_each_device() -> None:
    assert rules_of(ModelSpec(name="o/m"), SETTINGS, 2) == Rules(0, 2, 7, 8, 9)
    assert rules_of(ModelSpec(name="o/m", max=1), SETTINGS, 2) == Rules(0, 1, 7, 8, 9)


def test_there_are_never_more_consumers_than_partitions() -> None:
    assert rules_of(ModelSpec(name="o/m", min=8, max=9), SETTINGS) == Rules(4, 4, 7, 8, 9)
