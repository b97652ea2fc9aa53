from __future__ import annotations

import pytest
from starlette.requests import Request

from api.dependencies import wait_of


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait", 60),
        ("wait=5", 5),
        ("Wait = 5", 5),
        ("respond-async, wait=10", 10),
        ("wait=0", 1),
        ("wait=" + "9" * 5000, 60),
        ('wait="3"', 3),
        ("wait=3600", 60),
        ("wait=5; foo", 5),
        ("", 0),
        ("await=5", 0),
        ("wait=soon", 0),
    ],
)
def test_prefer_wait_gives_seconds_from_1_to_60(prefer: str, seconds: float) -> None:
    scope = {"type": "http", "headers": [(b"prefer", prefer.encode())]}
    assert wait_of(Request(scope)) == seconds
