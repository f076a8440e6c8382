"""One line on the machine: figures without it say nothing."""

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path


def described() -> str:
    """Return what the figures depend on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("pydantic-ai-slim", "mcp"))
    kernel = platform.release().partition("-")[0]
    return (
        f"{cores} cores of {_processor()}, {platform.system()} {kernel}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {libraries}; "
        f"load {os.getloadavg()[0]:.1f} at the start."
    )


def _processor() -> str:
    """Return the processor's name; Linux alone has a file for it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
