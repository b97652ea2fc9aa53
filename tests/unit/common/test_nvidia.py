from __future__ import annotations

from common.nvidia import uuids

WHOLE = """\
GPU 0: NVIDIA H200 (UUID: GPU-11111111-aaaa-bbbb-cccc-000000000000)
GPU 1: NVIDIA H200 (UUID: GPU-22222222-aaaa-bbbb-cccc-000000000000)
"""
DIVIDED = """\
GPU 0: NVIDIA A100 (UUID: GPU-1)
  MIG 3g.20gb     Device  0: (UUID: MIG-1)
  MIG 3g.20gb     Device  1: (UUID: MIG-2)
GPU 1: NVIDIA A100 (UUID: GPU-2)
GPU 2: NVIDIA A100 (UUID: GPU-3)
  MIG 7g.40gb     Device  0: (UUID: MIG-GPU-3/7/0)
"""


def test_whole_devices_are_found() -> None:
    assert uuids(WHOLE) == [
        "GPU-11111111-aaaa-bbbb-cccc-000000000000",
        "GPU-22222222-aaaa-bbbb-cccc-000000000000",
    ]


def test_the_parts_of_a_divided_device_stand_in_its_place() -> None:
    assert uuids(DIVIDED) == ["MIG-1", "MIG-2", "GPU-2", "MIG-GPU-3/7/0"]


def test_where_none_is_listed_there_is_none() -> None:
    assert uuids("No devices were found\n") == []
