"""`python -m benchmarks [NAME...]`: print the figures as Markdown tables."""

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import cli, definitions, grep, machine, overhead, record, reference, server

BENCHMARKS: Mapping[str, Callable[[Path], None]] = {
    "overhead": overhead.run,
    "reference": reference.run,
    "grep": grep.run,
    "server": server.run,
    "cli": cli.run,
    "definitions": definitions.run,
    "record": record.run,
}


def main(names: list[str]) -> int:
    """Run the benchmarks that are named, or all."""
    if unknown := [name for name in names if name not in BENCHMARKS]:
        known = ", ".join(BENCHMARKS)
        print(f"There is no benchmark {unknown[0]!r}; there are: {known}.", file=sys.stderr)
        return 2
    print(f"{machine.described()}\n", flush=True)
    for name in names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="workyard-bench-") as place:
            BENCHMARKS[name](Path(place))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
