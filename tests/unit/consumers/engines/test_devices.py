from __future__ import annotations

import pytest
import torch

from common.errors import OutOfMemory
from consumers.engines.devices import choose_device, choose_dtype, memory_watched, seed


def test_without_an_accelerator_auto_is_the_cpu_in_float32() -> None:
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has an accelerator")
    device = choose_device("auto")
    assert (device.type, choose_dtype("auto", device)) == ("cpu", torch.float32)


def test_with_a_gpu_auto_is_the_gpu_in_sixteen_bits() -> None:
    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU")
    device = choose_device("auto")
    assert device.type == "cuda"
    assert choose_dtype("auto", device).itemsize == 2


def test_a_number_format_that_is_asked_for_is_taken() -> None:
    assert choose_dtype("bfloat16", torch.device("cpu")) is torch.bfloat16


def test_lack_of_memory_is_told_as_such() -> None:
    with pytest.raises(OutOfMemory), memory_watched():
        torch.empty(2**50)


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(RuntimeError, match="invalid"), memory_watched():
        torch.empty(4).view(3)


def test_a_seed_repeats_and_none_goes_on_to_something_else() -> None:
    drawn = []
    for value in (5, 5, None, None):
        seed(value)
        drawn.append(torch.rand(4).tolist())
    assert drawn[0] == drawn[1]
    assert drawn[1] != drawn[2] != drawn[3]
