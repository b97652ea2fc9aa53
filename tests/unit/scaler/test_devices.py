from __future__ import annotations

import stat
from pathlib import Path

import pytest
import structlog

from scaler.devices import Devices, find_devices
from scaler.launchers import Launched

pytestmark = pytest.mark.anyio

TWO = """\
GPU 0: NVIDIA H200 (UUID: GPU-11111111-aaaa-bbbb-cccc-000000000000)
GPU 1: NVIDIA H200 (UUID: GPU-22222222-aaaa-bbbb-cccc-000000000000)
"""


def test_a_consumer_gets_the_device_that_has_the_fewest() -> None:
    devices = Devices(["0", "1"])
    held = [Launched("a", "m", "0"), Launched("b", "m", "1", stopping=True)]
    assert devices.choose("m", []) == "0"
    assert devices.choose("m", held[:1]) == "1"
    assert devices.choose("m", held) == "0"
    assert devices.choose("m", [*held, Launched("c", "m", "0")]) == "1"
    assert devices.choose("m", [held[1], Launched("d", "m", "0", exit_code=1)]) == "0"


def test_a_model_that_names_its_device_is_left_alone() -> None:
    devices = Devices(["0", "1"], elsewhere=["m"])
    assert devices.choose("m", []) == ""
    assert devices.copies("m") == 1


def test_a_model_may_have_a_consumer_on_each_device() -> None:
    assert Devices(["0", "1"]).copies("m") == 2
    assert Devices().copies("m") == 1


def test_slots_are_those_of_each_device_and_the_cpu_is_one() -> None:
    assert Devices(["0", "1"]).slots(4) == 8
    assert Devices().slots(4) == 4
    assert Devices().choose("m", []) == ""


@pytest.mark.parametrize(
    ("setting", "visible", "found"),
    [
        ("0, 1", None, ["0", "1"]),
        ("", None, []),
        ("auto", "2,3", ["2", "3"]),
        ("auto", "", []),
        ("1", "2", ["1"]),
    ],
)
async def test_the_setting_goes_before_what_this_process_may_see(
    setting: str, visible: str | None, found: list[str]
) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert await find_devices(setting, environment) == found


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path / "nvidia-smi"


def script(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


async def test_auto_is_what_nvidia_smi_lists(nvidia_smi: Path) -> None:
    script(nvidia_smi, f"cat <<END\n{TWO}END\n")
    found = await find_devices("auto", {})
    assert [uuid[:7] for uuid in found] == ["GPU-111", "GPU-222"]


async def test_a_driver_that_does_not_answer_is_told_of(nvidia_smi: Path) -> None:
    script(nvidia_smi, "echo no driver; exit 9\n")
    with structlog.testing.capture_logs() as logged:
        assert await find_devices("auto", {}) == []
    assert [(one["event"], one["answer"]) for one in logged] == [("devices_unknown", "no driver")]


async def test_auto_is_none_where_there_is_no_such_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await find_devices("auto", {}) == []
