"""`make secrets`: what docker compose needs, into .env and infra/secrets.

Passwords, keys and a certificate. Python and openssl make them, without our packages. What is there
stays as it is: run again, it adds what is missing.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from common.nvidia import NVIDIA_SMI, uuids

PROJECT = Path(__file__).resolve().parent.parent
HTTPS_PORT = 8443
DAYS = 3650  # nobody's trust is in a certificate that signs itself; an end would only be a trap
HEADING = "# Made by `make secrets`, and read by docker compose. Keep it to yourself.\n"


def _key() -> str:
    """As api/access/keys.py makes them; that cannot be imported without our packages."""
    return f"dk_{secrets.token_hex(6)}_{secrets.token_hex(32)}"


def _password() -> str:
    return secrets.token_hex(24)  # nothing in it has a meaning in a URL


def _values(host: str, socket: Path) -> dict[str, Callable[[], str]]:
    """The lines of .env, each made only if it is missing."""
    devices = _gpus()
    return {
        "COMPOSE_FILE": lambda: "docker-compose-infra.yaml:docker-compose.yaml",
        "COMPOSE_PROFILES": lambda: "gpu" if devices else "cpu",
        "DARKROOM_DEVICES": lambda: ",".join(devices),
        "DARKROOM_PUBLIC_URL": lambda: f"https://{host}:{HTTPS_PORT}",
        "DARKROOM_ADMIN_KEY": _key,
        "DARKROOM_MONITOR_KEY": _key,
        "POSTGRES_PASSWORD": _password,
        "MINIO_ROOT_PASSWORD": _password,
        "GRAFANA_PASSWORD": _password,
        "DOCKER_SOCKET": lambda: str(socket),
        # Docker Desktop's own machine gives the socket to root's group.
        "DOCKER_GID": lambda: "0" if sys.platform == "darwin" else str(socket.stat().st_gid),
    }


def _gpus() -> list[str]:
    """NVIDIA's, which the scaler cannot see from its container."""
    try:
        listed = subprocess.run(NVIDIA_SMI, check=True, capture_output=True, text=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []
    return uuids(listed.stdout)


def _docker_socket() -> Path:
    """Where the Docker Engine listens: DOCKER_HOST if it says so, or the usual place."""
    host = os.environ.get("DOCKER_HOST", "")
    return Path(
        host.removeprefix("unix://") if host.startswith("unix://") else "/var/run/docker.sock"
    )


def read_env(file: Path) -> dict[str, str]:
    """The lines NAME=value of an .env; none where it is not there."""
    if not file.exists():
        return {}
    lines = file.read_text(encoding="utf-8").splitlines()
    found = (re.match(r"\s*(?:export\s+)?(\w+)=(.*)", line) for line in lines)
    return {match[1]: match[2].strip("'\"") for match in found if match}


def write_env(file: Path, host: str) -> list[str]:
    """Add what is missing; its names. OSError where there is no Docker socket to ask."""
    file.touch(mode=0o600)
    file.chmod(0o600)
    there = read_env(file)
    missing = {n: make for n, make in _values(host, _docker_socket()).items() if n not in there}
    made = "".join(f"{name}={make()}\n" for name, make in missing.items())
    old = file.read_text(encoding="utf-8")
    if made:
        with file.open("a", encoding="utf-8") as lines:
            lines.write("\n" if old and not old.endswith("\n") else "")
            lines.write(made if old else HEADING + made)
    return list(missing)


def make_certificate(folder: Path, host: str) -> bool:
    """A certificate that signs itself, unless one was put there. Whether it was made."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    if certificate.exists() and key.exists():
        return False
    address = re.fullmatch(r"[\d.]+|.*:.*", host)
    names = f"{'IP' if address else 'DNS'}:{host},DNS:localhost,IP:127.0.0.1"
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-days", str(DAYS), "-subj", f"/CN={host}",
         "-addext", f"subjectAltName={names}", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return True


def _folders(root: Path) -> tuple[Path, Path]:
    """For nginx and for Prometheus.

    Containers run as users of their own, who must read what lies in these two. On this machine
    nobody else gets through the folder around them.
    """
    root.mkdir(exist_ok=True)
    root.chmod(0o700)
    tls, prometheus = root / "tls", root / "prometheus"
    for folder in (tls, prometheus):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    return tls, prometheus


def make_secrets(project: Path, host: str) -> list[str]:
    """All of it, in a checkout; what was made. OSError, CalledProcessError."""
    tls, prometheus = _folders(project / "infra" / "secrets")
    made = ["a certificate that signs itself"] if make_certificate(tls, host) else []
    (tls / "key.pem").chmod(0o644)
    made += write_env(project / ".env", host)
    monitor_key = prometheus / "monitor_key"
    monitor_key.write_text(read_env(project / ".env")["DARKROOM_MONITOR_KEY"], encoding="utf-8")
    monitor_key.chmod(0o644)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="make secrets", description=__doc__)
    parser.add_argument("--host", default="localhost", help="the name under which users reach it")
    host = parser.parse_args().host
    try:
        made = make_secrets(PROJECT, host)
    except FileNotFoundError as error:
        print(f"make secrets: {error.filename} is not there: install or start it", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"make secrets: openssl: {error.stderr.decode()}", file=sys.stderr)
        return 1
    print(f"Made: {', '.join(made)}." if made else "All secrets are there already.")
    print("They are in .env and infra/secrets; DARKROOM_ADMIN_KEY is the administrator's key.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
