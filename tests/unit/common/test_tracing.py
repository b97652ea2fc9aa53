from __future__ import annotations

import subprocess
import sys

import pytest

from common import tracing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (GIVEN, GIVEN),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-ff", f"00-{TRACE}-{SPAN}-03"),  # flags that nobody knows yet
        (f"cc-{TRACE}-{SPAN}-01", GIVEN),  # a later version says at least the same
        (f"cc-{TRACE}-{SPAN}-01-what-comes-then", GIVEN),
    ],
)
def test_a_traceparent_is_kept_in_the_version_that_we_write(given: str, kept: str) -> None:
    assert tracing.valid(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"{GIVEN}\n",
        f" {GIVEN}",
    ],
)
def test_what_is_no_traceparent_is_none(given: str | None) -> None:
    assert tracing.valid(given) is None


def test_without_export_a_trace_is_passed_on_as_it_came() -> None:
    with tracing.exported("", "darkroom-test"):
        span = tracing.begin("work", tracing.of({"traceparent": GIVEN}))
        assert tracing.headers(span.child("part").traceparent) == {"traceparent": GIVEN}
        assert tracing.headers(tracing.begin("work", None, root=True).traceparent) == {}


def test_without_export_no_process_loads_what_exports() -> None:
    script = """
import importlib, sys
from common import tracing
for name in ("serve", "record", "notify"):
    importlib.import_module(f"api.roles.{name}")
import consumers.__main__, scaler.__main__
with tracing.exported("", "darkroom-test"):
    tracing.begin("work", None, root=True).end()
exporting = ("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf")
print([name for name in sys.modules if name.startswith(exporting)])
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_export_without_its_packages_says_what_to_install() -> None:
    script = """
import runpy, sys
sys.modules["opentelemetry.sdk"] = None  # as if it were not installed
sys.argv = ["api", "record"]
runpy.run_module("api", run_name="__main__")
"""
    environment = {
        "DARKROOM_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "PYTHONPATH": ":".join(sys.path),
    }
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    assert ran.returncode == 2
    assert "pip install 'darkroom[traces]'" in ran.stderr
    assert "DARKROOM_OTLP_ENDPOINT" in ran.stderr
