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
