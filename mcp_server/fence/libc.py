"""Functions of the C library that Python has no name for."""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)


def call(function: str, *arguments: object) -> int:
    """Call a function and return what it returns.

    Raises:
        OSError: it has failed, which a number below 0 says.
    """
    result: int = getattr(_LIBC, function)(*arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
