"""Where the object store keeps what jobs take and make.

`inputs/<owner>/<UTC day>/<id of job or file>.<random>.<sha256>` and
`outputs/<job>/<attempt's token>/<number>.<extension>`. A key is written once, for one job or file:
who deletes it takes nothing from another, and needs to wait for nobody.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

INPUTS, OUTPUTS = "inputs/", "outputs/"


def input_key(owner: str, id: str, sha256: str, at: float) -> str:
    """A new one at each call. `at` is in seconds since the epoch."""
    day = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
    return f"{INPUTS}{owner}/{day}/{id}.{secrets.token_hex(8)}.{sha256}"


def content_of(key: str) -> str:
    """The SHA-256 of an input's bytes, as hex."""
    return key.rpartition(".")[2]


def maker_of(key: str) -> str:
    """The id of the job or file that it is of."""
    if key.startswith(OUTPUTS):
        return key.split("/")[1]
    return key.rpartition("/")[2].partition(".")[0]
