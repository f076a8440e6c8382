"""The main job, as a user does it: a question, an answer with true citations, the record of it."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import COMMAND, DEADLINE_S, Workyard
from tests.wire.environment import environment
from tests.wire.script import Answer, Call, Hang, Say, turn
from tests.wire.server import Wire, serving

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO_QUESTION = "How is an agent kept inside its root directory?"
"""What `make demo` asks."""
CITATION = re.compile(r"^(\S+):(\d+)$")


def session_in(text: str) -> str:
    found = re.search(r"sessions show (\S+)\)", text)
    assert found, text
    return found[1]


def citations(answer: str) -> list[tuple[str, int, str]]:
    """Return each cited path and line, with the first line that is quoted from there."""
    lines = answer.splitlines()
    found = []
    for index, line in enumerate(lines):
        if match := CITATION.match(line):
            found.append((match[1], int(match[2]), lines[index + 2]))
    return found


def test_demo_answers_about_this_repository_with_true_citations(workyard: Workyard) -> None:
    done = workyard("ask", DEMO_QUESTION, cwd=REPOSITORY)

    assert done.returncode == 0, done.stderr
    assert "no language model" in done.stdout + done.stderr
    cited = citations(done.stdout)
    assert cited
    for path, number, quoted in cited:
        line = (REPOSITORY / path).read_text(encoding="utf-8").splitlines()[number - 1]
        assert quoted.strip() == line.strip(), (path, number)

    shown = workyard("sessions", "show", session_in(done.stderr))
    assert shown.returncode == 0
    for part in ("repo_guide with offline", "● grep", "● read_file", "↳", "succeeded: 3 requests"):
        assert part in shown.stdout


def test_second_turn_in_a_new_process_is_sent_the_first(workyard: Workyard, project: Path) -> None:
    """The history comes from the database: the process of the first turn is gone."""
    script: list[Answer] = [
        Call("read_file", {"path": "README.md"}),
        Say("It is a till."),
        Say("In Python."),
    ]
    wire = Wire(script)
    with serving(wire) as url:
        env = environment("anthropic", url)
        common = ("--root", str(project), "--model", "anthropic:pretend")
        first = workyard("run", "repo_guide", "What is it?", *common, env=env)
        second = workyard("run", "repo_guide", "In which language?", *common, "--continue", env=env)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert (first.stdout, second.stdout) == ("It is a till.\n", "In Python.\n")
    assert session_in(first.stderr) == session_in(second.stderr)
    sent = json.dumps(wire.requests[2].body["messages"])
    for part in ("What is it?", "A till that adds prices.", "It is a till.", "In which language?"):
        assert part in sent


def test_json_prints_one_object_and_nothing_else(workyard: Workyard, project: Path) -> None:
    common = ("run", "repo_guide", "Where are prices added?", "--root", str(project), "--json")
    done = workyard(*common, "--model", "offline")

    answer = json.loads(done.stdout)
    assert done.returncode == 0
    assert answer.keys() == {
        "session_id",
        "run_id",
        "agent",
        "model",
        "status",
        "output",
        "usage",
    }
    assert "src/till.py:1" in answer["output"]
    assert (answer["status"], answer["usage"]["requests"]) == ("succeeded", 3)


def children_of(process_id: int) -> list[int]:
    listed = Path(f"/proc/{process_id}/task/{process_id}/children").read_text()
    return [int(child) for child in listed.split()]


def is_running(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the server through /proc")
@pytest.mark.parametrize("signals", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM]])
def test_run_that_is_stopped_is_recorded_with_what_it_had_done(
    workyard: Workyard, project: Path, signals: list[signal.Signals]
) -> None:
    """By an impatient Ctrl-C as by a `kill`; a terminal that is closed sends the like."""
    wire = Wire([turn(Call("read_file", {"path": "README.md"})), Hang()])
    with serving(wire) as url:
        arguments = ["run", "repo_guide", "go", "--root", str(project), "--model", "ollama:x"]
        process = workyard.start(arguments, env=environment("ollama", url))
        deadline = time.monotonic() + DEADLINE_S
        while len(wire.requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        servers = children_of(process.pid)
        for number in signals:
            os.kill(process.pid, number)
            time.sleep(0.05)
        _, stderr = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1] == "workyard: Stopped."
    assert "cancelled: 1 request" in stderr
    assert "Traceback" not in stderr
    assert servers
    assert not any(is_running(server) for server in servers)
    shown = workyard("sessions", "show", session_in(stderr)).stdout
    assert "● read_file" in shown
    assert "↳ README.md" in shown
    assert "cancelled: 1 request" in shown


def test_output_that_cannot_be_written_is_said_in_one_line(workyard: Workyard) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [COMMAND, "models"],
            env=workyard.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    assert done.returncode == 6
    assert done.stderr == "workyard: The output cannot be written: No space left on device.\n"


@pytest.mark.skipif(shutil.which("script") is None, reason="needs util-linux to make a terminal")
def test_terminal_shows_nothing_but_the_run(workyard: Workyard, project: Path) -> None:
    """Libraries greet on a terminal, where no test with pipes sees it."""
    words = shlex.join([COMMAND, "ask", "Where are totals rounded?", "--root", str(project)])
    done = subprocess.run(
        ["script", "-qec", words, "/dev/null"],
        env=workyard.environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "docs/rounding.md" in done.stdout
    assert "logfire" not in done.stdout.lower()


def test_bad_input_gets_one_clear_line_and_no_traceback(workyard: Workyard) -> None:
    """`tests/orchestrator/test_cli.py` has the whole table; this is the real command."""
    done = workyard("run", "repo_gide", "x")

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "workyard: There is no agent 'repo_gide'; did you mean 'repo_guide'?\n"
