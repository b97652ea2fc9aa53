"""Waiting for a dependency to come back."""

from __future__ import annotations

import stamina

from common.errors import Unavailable

# Calls, and calls again for as long as a dependency does not answer: 0.1 s later at first, 10 s
# at most. For work that must not be lost and has nobody waiting who could be told.
until_available = stamina.AsyncRetryingCaller(attempts=None, timeout=None, wait_max=10.0).on(
    Unavailable
)
