"""Identifiers: UUIDs of version 7, which sort by the time they were made.

Source: RFC 9562, section 5.7. The standard library has `uuid.uuid7` from Python 3.14 on.
"""

import os
import time
import uuid


def new_id() -> str:
    """Return a new UUIDv7 in its usual text form.

    >>> uuid.UUID(new_id()).version
    7
    """
    milliseconds = time.time_ns() // 1_000_000
    randomness = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & ((1 << 48) - 1)) << 80 | randomness
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    return str(uuid.UUID(int=value))


def attempt_id(run_id: str, attempt: int) -> str:
    """Return by what Pydantic AI knows an attempt at a run: it takes no id twice.

    >>> attempt_id("r", 1), attempt_id("r", 2)
    ('r', 'r#2')
    """
    return run_id if attempt == 1 else f"{run_id}#{attempt}"


def run_of(attempt: str) -> str:
    """Return the run that an attempt belongs to.

    >>> run_of("r#2")
    'r'
    """
    return attempt.partition("#")[0]
