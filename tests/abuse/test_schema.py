"""The OpenAPI document against the API that serves it: schemathesis believes every word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.abuse.conftest import Door

SOAK = bool(os.environ.get("SOAK"))
CASES = 200 if SOAK else 50  # an operation
SEED = [] if SOAK else ["--seed", "1"]  # the suite repeats itself; the soak looks for what is new
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
RULES = dict.fromkeys(("min", "max", "target", "cooldown", "hold_down"))
LONGEST = 4 * 3600 if SOAK else 1800  # seconds


@pytest.mark.timeout(LONGEST + 200)
def test_no_reply_breaks_the_document(door: Door, tmp_path: Path) -> None:
    """Examples, every edge of each schema, chance, and chains along the links."""
    _, secret = door.key("--owner", "schemathesis", "--scope", "admin")  # it may do everything
    ran = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--config-file"),
            *(str(Path(__file__).with_name("schemathesis.toml")), "run"),
            *(f"{door.stack.url}/openapi.json", "--max-examples", str(CASES), *SEED),
            *("--header", f"Authorization: Bearer {secret}"),
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)},
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    with door.client(door.admin) as client:  # for the tests behind this one
        client.patch("/v1/scaling", json={"mode": "on"}).raise_for_status()
        for model in client.get("/v1/scaling").json()["models"]:
            path = f"/v1/scaling/models/{model['model']}"
            client.patch(path, json={**RULES, "paused": False}).raise_for_status()
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2000:]
    selected = re.search(r"Selected: (\d+)/(\d+)\n\s*Tested: (\d+)", ran.stdout)
    assert selected is not None, ran.stdout[-3000:]
    assert len(set(selected.groups())) == 1  # none was left out
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert re.search(rf"✅\s+{phase}", ran.stdout), ran.stdout[-3000:]
