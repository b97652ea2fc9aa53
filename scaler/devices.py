"""The devices of this host, and which of them a new consumer gets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import structlog

from common.nvidia import NVIDIA_SMI, uuids
from scaler.launchers import Launched

logger = structlog.get_logger()


class Devices:
    """Each consumer gets the device that has the fewest, unless its model names one itself."""

    def __init__(self, devices: Sequence[str] = (), *, elsewhere: Collection[str] = ()) -> None:
        """`elsewhere` are the models whose place is settled: device=cpu, device=cuda:1."""
        self._devices = tuple(devices)
        self._elsewhere = frozenset(elsewhere)

    def copies(self, model: str) -> int:
        """Consumers of the model that each have a device of their own."""
        return 1 if model in self._elsewhere else max(len(self._devices), 1)

    def slots(self, each: int) -> int:
        """Consumers at once, with `each` on every device; the CPU counts as one."""
        return each * max(len(self._devices), 1)

    def choose(self, model: str, launched: Iterable[Launched]) -> str:
        """Empty where it is not ours to choose."""
        if not self._devices or model in self._elsewhere:
            return ""
        held = Counter(one.device for one in launched if one.exit_code is None)
        return min(self._devices, key=lambda device: held[device])


async def find_devices(setting: str, environment: Mapping[str, str]) -> list[str]:
    """What DARKROOM_DEVICES comes to; `auto` is all of NVIDIA's that this process may use."""
    if setting != "auto":
        return _listed(setting)
    if (visible := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        return _listed(visible)
    try:
        asking = await asyncio.create_subprocess_exec(
            *NVIDIA_SMI,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except FileNotFoundError:
        return []
    said, _ = await asking.communicate()
    if asking.returncode:
        logger.warning("devices_unknown", asked=" ".join(NVIDIA_SMI), answer=said.decode().strip())
        return []
    return uuids(said.decode())


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
