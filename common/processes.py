"""Processes: how one is asked to stop, and that a child does not outlive its parent."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4


def stop_at_signal() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set, instead of ending the process. Call it in a loop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def end_with_parent(parent: int, by: signal.Signals) -> None:
    """Called in a child: when `parent` dies, however it dies, the kernel sends us `by`.

    Linux alone has this; elsewhere a parent that is killed leaves its children running.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), by)


def hide_secrets() -> None:
    """Keep other processes of this user, but root's, from reading our environment and memory.

    A core dump would hold them too, so none is written. Linux alone has this.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
