"""Free TCP ports on loopback."""

import random
import socket

from infra.server import HOST

# Below the kernel's range for outgoing connections (32768 and up by default). From inside that
# range a client that keeps trying to reach a stopped server ends up connected to itself sooner or
# later, and then holds the port when the server wants it back.
LOWEST = 20_000
HIGHEST = 32_000
ATTEMPTS = 1_000


def free_ports(count: int) -> list[int]:
    """That many different ports that nothing on loopback uses now; OSError if there are none."""
    candidates = random.SystemRandom().sample(range(LOWEST, HIGHEST), ATTEMPTS)
    found = []
    for port in candidates:
        if _is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports among {ATTEMPTS} tried")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
