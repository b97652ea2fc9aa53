from __future__ import annotations

from api.app import ERRORS
from api.problems import CODES
from common.errors import DarkroomError, LauncherUnavailable, Unavailable


def leaves(kind: type[DarkroomError]) -> set[type[DarkroomError]]:
    below = [one for one in kind.__subclasses__() if one.__module__ == kind.__module__]
    return {kind} if not below else set().union(*(leaves(one) for one in below))


def test_every_error_of_the_table_has_a_code_with_a_status() -> None:
    assert set(ERRORS.values()) <= set(CODES)


def test_every_dependency_that_may_be_unavailable_is_a_503() -> None:
    kinds = leaves(Unavailable) - {LauncherUnavailable}  # which the API has none of
    assert {CODES[ERRORS[kind]][0] for kind in kinds} == {503}
