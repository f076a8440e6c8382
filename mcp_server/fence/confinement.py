"""The kernel's second lock: threads that may touch the root and nothing else (Landlock).

A mistake in the code that resolves paths is then still a refusal. It binds the thread that applies
it and the processes this thread starts; the main thread stays free to import modules and write
logs. Not mediated by the kernel: stat, chmod and chdir, and descriptors that are open already.
Source: https://docs.kernel.org/userspace-api/landlock.html.
"""

import ctypes
import logging
import os
import sys
from dataclasses import dataclass

from mcp_server.fence import libc

logger = logging.getLogger(__name__)

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

# Bits of access to files, in the order of the kernel's header.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_MAKE_SYM, _REFER, _TRUNCATE = 1 << 12, 1 << 13, 1 << 14

_KNOWN_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many bits of file access each ABI knows; from ABI 5 on, 16."""

_ROOT_ACCESS = (
    _WRITE_FILE | _READ_FILE | _READ_DIR | _REMOVE_DIR | _REMOVE_FILE
    | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE
)  # fmt: skip
_PROGRAM_ACCESS = _EXECUTE | _READ_FILE


class _RulesetAttr(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


@dataclass(frozen=True, slots=True)
class Status:
    """What is on."""

    abi: int
    """The kernel's Landlock version; 0 when it has none."""

    @property
    def is_on(self) -> bool:
        """Tell whether threads are confined."""
        return self.abi > 0

    def __str__(self) -> str:
        return f"Landlock (ABI {self.abi})" if self.is_on else "none (no Landlock in this kernel)"


class Confinement:
    """The rules for the threads of one workspace, ready to be applied."""

    def __init__(self, root_fd: int, program: str | None) -> None:
        """Write the rules: the root, and the one program that threads may start.

        Raises:
            OSError: the kernel has Landlock but does not take the rules.
        """
        self.status = Status(_abi())
        self._ruleset_fd = -1
        if not self.status.is_on:
            logger.warning("this kernel has no Landlock: threads are not confined")
            return
        self._ruleset_fd = _create_ruleset(self.status.abi)
        known = _known_access(self.status.abi)
        try:
            _allow(self._ruleset_fd, root_fd, _ROOT_ACCESS & known)
            if program is not None:
                program_fd = os.open(program, os.O_PATH | os.O_CLOEXEC)
                try:
                    _allow(self._ruleset_fd, program_fd, _PROGRAM_ACCESS)
                finally:
                    os.close(program_fd)
        except BaseException:
            self.close()
            raise

    def apply(self) -> None:
        """Confine the calling thread for the rest of its life.

        Raises:
            OSError: the kernel refused; the thread must not be used.
        """
        if self.status.is_on:
            # Without this promise only root may confine itself; it holds for this thread alone.
            libc.call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            _syscall(_RESTRICT_SELF, ctypes.c_int(self._ruleset_fd), ctypes.c_uint32(0))

    def close(self) -> None:
        """Forget the rules; threads that applied them stay confined."""
        if self._ruleset_fd >= 0:
            os.close(self._ruleset_fd)
            self._ruleset_fd = -1


def _abi() -> int:
    if sys.platform != "linux":
        return 0
    try:
        return _syscall(
            _CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION)
        )
    except OSError:  # not built in, not switched on, or hidden by a container's filter
        return 0


def _known_access(abi: int) -> int:
    return int((1 << _KNOWN_BITS.get(abi, 16)) - 1)


def _create_ruleset(abi: int) -> int:
    # ABI 4 handles TCP (bind, connect), ABI 6 abstract sockets and signals: none is allowed.
    rules = _RulesetAttr(
        handled_access_fs=_known_access(abi),
        handled_access_net=0b11 if abi >= 4 else 0,
        scoped=0b11 if abi >= 6 else 0,
    )
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    return _syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))


def _allow(ruleset_fd: int, fd: int, access: int) -> None:
    rule = _PathBeneathAttr(allowed_access=access, parent_fd=fd)
    _syscall(
        _ADD_RULE,
        ctypes.c_int(ruleset_fd),
        ctypes.c_int(_RULE_PATH_BENEATH),
        ctypes.byref(rule),
        ctypes.c_uint32(0),
    )


def _syscall(number: int, *arguments: object) -> int:
    return libc.call("syscall", ctypes.c_long(number), *arguments)
