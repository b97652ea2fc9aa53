"""What an engine's process gives up at its start: sight of all other processes.

A process may read the environment, the memory and the open files of others of the same user,
through /proc. The consumer's own holds the servers' passwords, and an engine may run a user's code.
Linux' Landlock ends that for whoever enters a domain, without a way back; and root keeps only what
it needs for files, since some of its other powers go past it.
"""

from __future__ import annotations

import ctypes
import os
import sys

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same numbers on every architecture we know
_ASK_VERSION = 1
_PR_SET_NO_NEW_PRIVS = 38
_MAKE_BLOCK_DEVICE = 1 << 11  # a domain must refuse something: this is what nobody misses
_SCOPE_SIGNAL = 1 << 1
_VERSION_WITH_SCOPES = 6
_CAPABILITY_VERSION = 0x20080522
_OF_FILES = 0b11111  # CAP_CHOWN to CAP_FSETID: a mounted cache may belong to another user


class _Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr of <linux/landlock.h>."""

    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Header(ctypes.Structure):
    """struct __user_cap_header_struct of <linux/capability.h>."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    """struct __user_cap_data_struct: half of the capabilities there are."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def confine() -> bool:
    """Enter a domain that sees and signals nobody outside. False: this system has no Landlock.

    It holds for the calling thread and those that it starts, so call it before there are others.
    Raises OSError where there is Landlock and it refuses.
    """
    if sys.platform != "linux":
        return False
    kernel = ctypes.CDLL(None, use_errno=True)
    version = kernel.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    if version < 1:
        return False
    ruleset = _Ruleset(handled_access_fs=_MAKE_BLOCK_DEVICE)
    size = 8
    if version >= _VERSION_WITH_SCOPES:
        ruleset.scoped = _SCOPE_SIGNAL
        size = ctypes.sizeof(_Ruleset)
    domain = _checked(
        kernel.syscall(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), 0)
    )
    _keep_capabilities_of_files(kernel)
    _checked(kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(kernel.syscall(_RESTRICT_SELF, domain, 0))
    os.close(domain)
    return True


def _keep_capabilities_of_files(kernel: ctypes.CDLL) -> None:
    """CAP_PERFMON and CAP_SYS_ADMIN read any process's environment, whatever Landlock says."""
    header, halves = _Header(_CAPABILITY_VERSION, 0), (_Capabilities * 2)()
    _checked(kernel.capget(ctypes.byref(header), halves))
    kept = halves[0].permitted & _OF_FILES
    halves[0] = _Capabilities(effective=kept, permitted=kept)
    halves[1] = _Capabilities()
    _checked(kernel.capset(ctypes.byref(header), halves))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result
