"""Where a model runs, in which number format, and what its lack of memory looks like."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from common.errors import ModelUnavailable, OutOfMemory

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_SMALL = 20_000_000  # numbers in a model
_NO_MEMORY = ("out of memory", "can't allocate memory")  # of MPS and of the CPU: RuntimeError


def choose_device(wanted: str) -> torch.device:
    """`auto` is the first there is of cuda, mps and cpu. Raises ModelUnavailable."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelUnavailable(
            f"device={wanted} is not usable here ({_first_line(error)}): "
            "say auto, cpu, or a device of this machine."
        ) from error
    return device


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU, bfloat16 on a GPU that has it, else float16."""
    if wanted == "auto":
        if device.type == "cpu":
            return torch.float32
        fits = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if fits else torch.float16
    try:
        return _DTYPES[wanted]
    except KeyError:
        raise ModelUnavailable(
            f"dtype={wanted} is not known: say auto, {', '.join(_DTYPES)}."
        ) from None


def fit_threads(model: torch.nn.Module, device: torch.device) -> None:
    """One thread for a small model on a CPU: more of them mostly wait for each other.

    On two busy cores a captioner of 1.4 million numbers took 0.1 s with one and 1.2 s with two.
    """
    numbers = sum(weights.numel() for weights in model.parameters())
    if device.type == "cpu" and numbers < _SMALL:
        torch.set_num_threads(1)


@contextmanager
def memory_watched() -> Iterator[None]:
    """Turns every form of "no memory left" into OutOfMemory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(_first_line(error)) from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device's or the machine's memory did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)


def free_memory(device: torch.device) -> None:
    """Give what the allocator keeps for later back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def seed(value: int | None) -> None:
    """Make what follows repeatable; None makes it unlike anything before."""
    if value is None:
        torch.seed()
    else:
        torch.manual_seed(value)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
