"""`python -m infra`: run the servers until Ctrl-C or SIGTERM."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from infra import compose, debian, docker_engine
from infra.errors import InfraError
from infra.proxy import Nginx
from infra.servers import Servers, install

CHECK_EVERY_S = 1.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra", description=__doc__)
    parser.add_argument(
        "--dir", type=Path, help="keep data, ports and keys here (default: a temporary folder)"
    )
    parser.add_argument(
        "--install", action="store_true", help="only install and build what is missing"
    )
    return parser.parse_args()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _install_all() -> None:
    """What the tests need beyond the servers that people play with, too."""
    root = os.geteuid() == 0
    more = (*docker_engine.tools(), *compose.tools(), *Nginx.tools())
    install(*more, *(debian.tools() if root else ()))
    compose.install()
    if root:
        debian.install()


def _serve(directory: Path | None) -> None:
    """Run the servers until a signal, or until one of them ends by itself (ServerFailed)."""
    with Servers(directory) as servers:
        try:
            for name, value in servers.settings().items():
                print(f"{name}={value}", flush=True)
            while True:
                time.sleep(CHECK_EVERY_S)
                servers.check()
        finally:
            # A second Ctrl-C must not leave the stop half done.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)


def main() -> int:
    """The exit code: 0 after an orderly end, 1 if servers could not be had or ended."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        if arguments.install:
            _install_all()
        else:
            _serve(arguments.dir)
    except KeyboardInterrupt:
        return 0
    except InfraError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
