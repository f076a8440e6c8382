"""Run a command and print what it took: `python -I -S timed.py COMMAND ARGUMENT...`.

Linux counts the peak memory of a child from the size of the process that started it. So whoever
measures must be smaller than what is measured: this file is run by an interpreter of its own that
imports nothing.

Prints wall seconds and peak bytes; exits as the command did.
"""

import os
import sys
import time

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def main(command: list[str]) -> int:
    """Run the command with nothing to read and nowhere to print."""
    nothing = os.open(os.devnull, os.O_RDWR)
    quiet = [(os.POSIX_SPAWN_DUP2, nothing, stream) for stream in (0, 1)]
    started = time.perf_counter()
    process = os.posix_spawn(command[0], command, os.environ, file_actions=quiet)
    _, status, usage = os.wait4(process, 0)
    print(time.perf_counter() - started, usage.ru_maxrss * _RSS_UNIT)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
