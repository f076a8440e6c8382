"""When garbage is looked for: not while thousands of objects are made that all stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def left_alone() -> Iterator[None]:
    """Let no garbage be looked for meanwhile.

    A long history or a large import is tens of thousands of objects. Python would look through all
    that the process has, several times over: for a history, longer than it takes to make it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
