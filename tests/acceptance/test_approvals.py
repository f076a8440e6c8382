"""A call that needs a yes, as a person meets it: in the terminal, or later and elsewhere."""

import json
import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import anyio
import pytest
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp_types import ElicitRequestParams, ElicitResult, ErrorData

from tests.acceptance.conftest import COMMAND, DEADLINE_S, Workyard
from tests.acceptance.hosted import ERAS, Era, run_of, served, text_of
from tests.wire.environment import environment
from tests.wire.script import Answer, Call, Say
from tests.wire.server import Wire, serving

SPEC = """\
name: careful
description: Writes when it may.
instructions: Write.
capabilities:
  - WorkspaceTools: {tools: [read_file, write_file], read: ["**"], write: ["**"]}
  - Approvals: {writes: true}
"""
SCRIPT: list[Answer] = [
    Call("write_file", {"path": "README.md", "content": "# Sample\n\nA \x1b[2J desk.\n"}),
    Say("Done."),
]


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "careful.yaml").write_text(SPEC)
    return tmp_path / "specs"


def test_run_that_waits_is_answered_in_another_process_and_goes_on(
    workyard: Workyard, project: Path, specs: Path
) -> None:
    where = ("--model", "ollama:pretend", "--specs", str(specs))
    with serving(Wire(SCRIPT)) as url:
        env = environment("ollama", url)
        first = workyard("run", "careful", "go", "--root", str(project), *where, env=env)
        listed = workyard("approvals", "list")
        (question,) = json.loads(workyard("approvals", "list", "--json").stdout)
        done = workyard("approvals", "approve", question["run_id"], *where, env=env)
        again = workyard("approvals", "approve", question["run_id"], env=env)

    assert (first.returncode, first.stdout) == (4, "")
    assert "waits for a person's yes" in first.stderr.splitlines()[-1]
    assert (question["agent"], question["tool"]) == ("careful", "write_file")
    for part in ("careful", question["run_id"], "? write_file needs a yes", "-A till that adds"):
        assert part in listed.stderr
    assert "\x1b[2J" not in listed.stderr
    assert (done.returncode, done.stdout) == (0, "Done.\n"), done.stderr
    assert "A \x1b[2J desk." in (project / "README.md").read_text()
    assert again.returncode == 4
    assert "does not wait for a yes: it is succeeded" in again.stderr


def test_person_at_the_terminal_is_shown_the_diff_and_asked(
    workyard: Workyard, project: Path, specs: Path
) -> None:
    before = (project / "README.md").read_text()
    arguments = ["run", "careful", "go", "--root", str(project), "--model", "ollama:pretend"]
    ours, theirs = pty.openpty()
    with serving(Wire(SCRIPT)) as url:
        process = subprocess.Popen(
            [COMMAND, *arguments, "--specs", str(specs)],
            env=workyard.environment(environment("ollama", url)),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
        )
        os.close(theirs)
        asked = _read_until(ours, "why not] ")
        os.write(ours, b"keep the till\n")
        rest = _read_until(ours, "sessions show")
        stdout, _ = process.communicate(timeout=DEADLINE_S)

    assert "-A till that adds prices." in asked
    assert "A person has said no to this call: keep the till" in rest
    assert (process.returncode, stdout) == (0, "Done.\n")
    assert (project / "README.md").read_text() == before


def _read_until(terminal: int, mark: str) -> str:
    text, deadline = "", time.monotonic() + DEADLINE_S
    while mark not in text and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            text += os.read(terminal, 4096).decode(errors="replace")
    assert mark in text, text
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


@pytest.mark.parametrize("era", ERAS)
async def test_host_is_told_what_a_run_waits_for_and_answers_for_its_user(
    project: Path, specs: Path, era: Era
) -> None:
    with serving(Wire(SCRIPT)) as url:
        env = environment("ollama", url)
        server = served(project, "--specs", str(specs), "--model", "ollama:pretend", env=env)
        with anyio.fail_after(DEADLINE_S):
            async with Client(server, mode=era) as client:
                order = {"agent": "careful", "task": "go"}
                waiting = await client.call_tool("run_agent", order)
                run_id = run_of(waiting)["run_id"]
                before = (project / "README.md").read_text()
                wrong = await client.call_tool(
                    "answer_run", {"run_id": run_id, "approve": True, "call_id": "another"}
                )
                done = await client.call_tool("answer_run", {"run_id": run_id, "approve": True})
                late = await client.call_tool("answer_run", {"run_id": run_id, "approve": True})

    assert run_of(waiting)["status"] == "waiting"
    assert not waiting.is_error
    for part in ("waits for a person's yes", "-A till that adds prices.", "answer_run", run_id):
        assert part in text_of(waiting)
    assert before == "# Sample\n\nA till that adds prices.\n"
    assert wrong.is_error
    assert text_of(done).startswith("Done.\n")
    assert run_of(done)["run_id"] == run_id
    assert [file["path"] for file in run_of(done)["files"]] == ["README.md"]
    assert (late.is_error, "it is succeeded" in text_of(late)) == (True, True)


SAID: list[tuple[ElicitResult | ErrorData, str, bool]] = [
    (ElicitResult(action="accept", content={"allow": False}), "succeeded", False),
    (ElicitResult(action="decline"), "succeeded", False),
    (ElicitResult(action="cancel"), "waiting", False),
    (ErrorData(code=-32603, message="no window"), "waiting", False),
    (ElicitResult(action="accept", content={"allow": True}), "succeeded", True),
]
"""What a user says or does; how the run stands then, and whether the call was made."""


async def test_host_that_can_ask_its_user_does(project: Path, specs: Path) -> None:
    """A "no" first and the "yes" last: what is waiting meanwhile changes nothing."""
    shown: list[str] = []

    async def answer(
        context: ClientRequestContext, params: ElicitRequestParams
    ) -> ElicitResult | ErrorData:
        shown.append(params.message)
        return SAID[len(shown) - 1][0]

    before = (project / "README.md").read_text()
    stands: list[tuple[str, bool]] = []
    script: list[Answer] = [
        answer for said in SAID for answer in (SCRIPT if said[1] == "succeeded" else SCRIPT[:1])
    ]
    with serving(Wire(script)) as url:
        env = environment("ollama", url)
        server = served(project, "--specs", str(specs), "--model", "ollama:pretend", env=env)
        with anyio.fail_after(DEADLINE_S):
            async with Client(server, mode="legacy", elicitation_callback=answer) as client:
                for _ in SAID:
                    run = await client.call_tool("run_agent", {"agent": "careful", "task": "go"})
                    is_changed = (project / "README.md").read_text() != before
                    stands.append((run_of(run)["status"], is_changed))

    assert stands == [(status, is_changed) for _, status, is_changed in SAID]
    for message in shown:
        assert "careful: ? write_file needs a yes" in message
        assert "-A till that adds prices." in message
