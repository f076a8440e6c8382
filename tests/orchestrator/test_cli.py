"""The command line: parse, call, print, exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic_ai import models
from typer.testing import CliRunner, Result

from orchestrator import errors
from orchestrator.cli.app import app
from orchestrator.cli.exits import exit_code
from orchestrator.cli.progress import Progress, describe
from orchestrator.errors import OrchestratorError
from orchestrator.events import (
    AgentMessage,
    Event,
    FileChanged,
    RunEnded,
    TextDelta,
    ThinkingDelta,
    ToolCalled,
    ToolReturned,
    Usage,
)
from orchestrator.lifecycle import RunStatus
from orchestrator.settings import load_settings
from orchestrator.words import one_line, printable
from tests.wire.environment import environment
from tests.wire.script import Answer, Fail
from tests.wire.server import Wire, serving


def workyard(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


BAD_INPUT = [
    (["run", "repo_gide", "x"], 3, "did you mean 'repo_guide'"),
    (["run", "repo_guide", "x"], 2, "no key is set"),
    (["run", "repo_guide", "x", "--model", "anthropic:y"], 2, "ANTHROPIC_API_KEY"),
    (["run", "repo_guide", "x", "--model", "antropic:y"], 2, "Unknown model"),
    (["run", "repo_guide", "x", "--root", "/nonexistent"], 2, "does not exist"),
    (["run", "repo_guide", "x", "--root", ""], 2, "root is empty"),
    (["sessions", "show", "caf\udce9"], 3, "no session"),
    (["run", "repo_guide", "x", "--root", "/etc/hostname"], 2, "is not a directory"),
    (["run", "repo_guide", " ", "--model", "offline"], 2, "prompt is empty"),
    (["run", "repo_guide", "x", "--model", "offline", "--input", "a"], 2, "name=value"),
    (["run", "repo_guide", "x", "--model", "offline", "--input", "a=1"], 2, "no input 'a'"),
    (["run", "code_reviewer", "x", "--input", "max_findings=0"], 2, "max_findings"),
    (["run", "repo_guide", "x", "--model", "offline", "--session", "nope"], 3, "no session"),
    (["run", "repo_guide", "x", "--model", "offline", "--continue"], 3, "no session"),
    (["sessions", "show", "nope"], 3, "no session"),
    (["agents", "show", "nope"], 3, "known: bug_hunter"),
    (["agents", "list", "--specs", "/nonexistent"], 2, "not a directory"),
    (["agents", "validate", "nope.yaml"], 2, "cannot be read"),
]


@pytest.mark.parametrize(("arguments", "code", "part"), BAD_INPUT)
def test_bad_input_gets_one_clear_line_and_its_exit_code(
    arguments: list[str], code: int, part: str
) -> None:
    done = workyard(*arguments)

    assert (done.exit_code, done.stdout) == (code, "")
    assert part in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_json_of_a_failure_is_an_object_too() -> None:
    done = workyard("run", "repo_guide", "x", "--json")

    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"]["code"] == "model_not_configured"


def test_json_of_a_run_that_was_stopped_is_an_object_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.cli.exits.anyio.run", stopped)

    done = workyard("run", "repo_guide", "x", "--json")

    assert done.exit_code == 130
    assert json.loads(done.stdout)["error"]["code"] == "run_cancelled"


def test_session_and_continue_exclude_each_other() -> None:
    assert workyard("run", "repo_guide", "x", "--session", "s", "--continue").exit_code == 2


def test_faults_of_a_spec_are_reported_with_file_line_and_field(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("name: broken\ndescription: d\ninstructions: x\ncapabilites: []\n")

    checked = workyard("agents", "validate", str(file))
    run = workyard("run", "broken", "x", "--specs", str(tmp_path), "--model", "offline")
    listed = workyard("agents", "list", "--specs", str(tmp_path))

    expected = f"{file}:4: capabilites: there is no such key; did you mean 'capabilities'?"
    assert (checked.exit_code, run.exit_code, listed.exit_code) == (2, 2, 0)
    assert expected in checked.stderr
    assert expected in run.stderr
    assert "cannot be used" in listed.stdout
    assert "repo_guide" in listed.stdout


def test_agents_are_listed_shown_and_validated() -> None:
    listed, shown = workyard("agents", "list").stdout, workyard("agents", "show", "repo_guide")
    validated = workyard("agents", "validate")

    assert "code_reviewer" in listed
    assert "[focus], [max_findings]" in listed
    assert "WorkspaceTools" in shown.stdout
    assert validated.exit_code == 0
    assert validated.stdout.count(": ok") == 5


def test_models_say_what_can_be_used_and_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")

    lines = {line.split("  ")[0]: line for line in workyard("models").stdout.splitlines()}

    assert "set ANTHROPIC_API_KEY" in lines["Anthropic"]
    assert "can be used" in lines["Google Gemini API"]
    assert "can be used" in lines["Offline"]
    assert any("google:gemini" in line for line in lines if line.startswith("An agent whose"))


def test_run_puts_the_answer_on_stdout_and_progress_on_stderr(project: Path) -> None:
    done = workyard(
        "run",
        "repo_guide",
        "Where are totals rounded?",
        "--root",
        str(project),
        "--model",
        "offline",
    )

    assert done.exit_code == 0
    assert "docs/rounding.md" in done.stdout
    assert "●" not in done.stdout
    assert "● grep" in done.stderr
    assert "succeeded: 3 requests" in done.stderr
    session_id = done.stderr.split("sessions show ")[1].rstrip(")\n")
    listed = workyard("sessions", "list").stdout
    assert session_id in listed
    assert "Where are totals rounded?" in listed


def test_ask_says_which_model_it_will_use_before_it_spends(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKYARD_MODEL", "offline")

    done = workyard("ask", "Where are totals rounded?", "--root", str(project))

    assert done.stderr.splitlines()[0] == "This will use offline: WORKYARD_MODEL names it."


def test_ask_does_not_pass_over_the_model_that_the_operator_chose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKYARD_MODEL", "anthropic:x")

    asked, models_shown = workyard("ask", "x"), workyard("models")

    assert asked.exit_code == 2
    assert "ANTHROPIC_API_KEY" in asked.stderr
    assert "WORKYARD_MODEL names it" in models_shown.stdout


@pytest.mark.parametrize("command", [("agents", "list"), ("models",), ("sessions", "list")])
@pytest.mark.parametrize("value", ["abc", "-1", "nan", "inf"])
def test_setting_that_cannot_be_is_named(
    command: tuple[str, ...], value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKYARD_MODEL_TIMEOUT_S", value)

    done = workyard(*command)

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"workyard: WORKYARD_MODEL_TIMEOUT_S is '{value}': ")


def test_home_in_a_setting_is_the_users(
    monkeypatch: pytest.MonkeyPatch, own_surroundings: Path
) -> None:
    monkeypatch.setenv("WORKYARD_DATA_DIR", "~/yard")

    assert load_settings().data_dir == own_surroundings / "yard"


def test_usage_error_is_plain_text() -> None:
    done = workyard("run", "repo_guide")

    assert done.exit_code == 2
    assert "Missing argument" in done.stderr
    assert "╭" not in done.stderr


def test_text_appears_while_it_is_written_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    live, plain = Progress(live=True), Progress(live=False)

    live.show(TextDelta(content="So "))
    first = capsys.readouterr().out
    live.show(TextDelta(content="it is."))
    live.show(AgentMessage(content="So it is."))
    live.answer("So it is.")
    second = capsys.readouterr().out
    plain.show(TextDelta(content="So "))
    plain.show(AgentMessage(content="So it is."))
    plain.answer("So it is.")

    assert (first, second) == ("So ", "it is.\n")
    assert capsys.readouterr().out == "So it is.\n"


CALL = ToolCalled(call_id="c", tool="grep", arguments={})
WAYS_TO_AN_ANSWER: dict[str, tuple[list[Event], str]] = {
    "no pieces": ([AgentMessage(content="So.")], "So.\n"),
    "all in pieces": ([TextDelta(content="So."), AgentMessage(content="So.")], "So.\n"),
    "its end in no piece": ([TextDelta(content="S"), AgentMessage(content="So.")], "So.\n"),
    "in two parts": ([AgentMessage(content="S"), AgentMessage(content="o.")], "S\no.\n"),
    "in pieces of two parts": (
        [TextDelta(content="So."), AgentMessage(content="S"), AgentMessage(content="o.")],
        "So.\n",
    ),
    "after thoughts": ([ThinkingDelta(content="S?"), AgentMessage(content="So.")], "So.\n"),
    "after text beside a call": (
        [TextDelta(content="S"), AgentMessage(content="So"), CALL, AgentMessage(content="So.")],
        "So\nSo.\n",
    ),
    "said before, but not as the answer": ([AgentMessage(content="So."), CALL], "So.\nSo.\n"),
    "after one that was refused": (
        [AgentMessage(content="No."), AgentMessage(content="So.")],
        "No.\nSo.\n",
    ),
    "by a tool, with no text": ([CALL], "So.\n"),
}


@pytest.mark.parametrize(
    ("events", "printed"), WAYS_TO_AN_ANSWER.values(), ids=WAYS_TO_AN_ANSWER.keys()
)
def test_answer_appears_on_a_terminal_once_however_it_comes(
    events: list[Event], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    live = Progress(live=True)

    for event in (*events, RunEnded(status=RunStatus.SUCCEEDED, output="So.")):
        live.show(event)
    live.answer("So.")

    assert capsys.readouterr().out == printed


def test_answer_that_no_database_takes_appears_once_too(capsys: pytest.CaptureFixture[str]) -> None:
    live = Progress(live=True)

    live.show(AgentMessage(content="a \\ud800 \\x00 b"))
    live.answer("a \ud800 \0 b")

    assert capsys.readouterr().out == "a \\ud800 \\x00 b\n"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"kind": "modified", "added": 3, "removed": 1}, "  ± src/a.py +3 -1"),
        ({"kind": "modified", "added": 0, "removed": 0}, "  ± src/a.py"),
        ({"kind": "modified"}, "  ± src/a.py"),
        ({"kind": "created", "added": 1200, "removed": 0}, "  ± src/a.py created +1,200"),
        ({"kind": "deleted", "removed": 8}, "  ± src/a.py deleted -8"),
        ({"kind": "moved", "moved_from": "b.py"}, "  ± b.py → src/a.py"),
        ({"kind": "deleted", "more": 9900}, "  ± src/a.py deleted and 9,900 more"),
        ({"kind": "modified", "path": "two\nlines", "added": 1}, "  ± two lines +1"),
    ],
)
def test_changed_file_is_a_line(change: dict[str, object], line: str) -> None:
    described = describe(FileChanged.model_validate({"call_id": "c", "path": "src/a.py", **change}))

    assert described is not None
    assert described.plain == line


def test_structured_answer_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(live=True).answer({"n": 1})

    assert json.loads(capsys.readouterr().out) == {"n": 1}


HOSTILE = "\x1b]0;owned\x07\x1b[2J\u009b1m\udc80\u202eevil\u2066"


@pytest.mark.parametrize(
    "event",
    [
        ToolCalled(call_id="c", tool="grep\x1b[1m", arguments={"pattern": HOSTILE}),
        ToolReturned(call_id="c", tool="grep", outcome="failed", content=HOSTILE),
        FileChanged(call_id="c", path=HOSTILE, kind="moved", moved_from=HOSTILE),
    ],
)
def test_nothing_from_a_model_or_a_file_steers_the_terminal(event: Event) -> None:
    line = describe(event)

    assert line is not None
    assert not set(line.plain) & {"\x1b", "\x07", "\u009b", "\udc80", "\u202e", "\u2066"}


def test_control_characters_are_shown() -> None:
    assert printable("a\x1b[2J\tb\nc") == "a\\x1b[2J\tb\nc"
    assert one_line("a\n b" + "c" * 200, 10) == "a bcccccc…"


def test_unknown_cost_is_not_shown_as_nothing() -> None:
    line = describe(RunEnded(status=RunStatus.SUCCEEDED, usage=Usage(requests=1)))

    assert line is not None
    assert "cost unknown" in line.plain


@pytest.mark.parametrize(
    ("answer", "code", "part"),
    [
        (Fail(401, "no such key"), 6, "refused the key (401): no such key"),
        (Fail(429, "too many", retry_after=7), 6, "too many. It asks to wait 7 s."),
    ],
)
def test_provider_that_refuses_ends_with_its_words_and_exit_code(
    answer: Answer, code: int, part: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with models.override_allow_model_requests(True), serving(Wire([answer])) as url:
        for name, value in environment("openai-chat", url).items():
            monkeypatch.setenv(name, value)
        arguments = ("run", "repo_guide", "x", "--root", str(project), "--model", "openai-chat:m")
        told = workyard(*arguments)
        machine = workyard(*arguments, "--json")

    assert (told.exit_code, told.stdout) == (code, "")
    assert part in told.stderr.splitlines()[-1]
    assert "Traceback" not in told.stderr
    answered = json.loads(machine.stdout)
    assert answered["status"] == "failed"
    assert answered["error"]["code"] == "model_unavailable"
    assert answered["session_id"]


def all_errors(kind: type[OrchestratorError]) -> list[type[OrchestratorError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in all_errors(child))]


BRANCHES = {
    errors.InvalidInputError: 2,
    errors.NotFoundError: 3,
    errors.ConflictError: 4,
    errors.LimitError: 5,
    errors.UnavailableError: 6,
    errors.RunCancelledError: 130,
    errors.RunCrashedError: 1,
}


@pytest.mark.parametrize("kind", all_errors(OrchestratorError)[1:])
def test_every_error_has_the_exit_code_of_its_branch(kind: type[OrchestratorError]) -> None:
    (code,) = (code for branch, code in BRANCHES.items() if issubclass(kind, branch))

    assert exit_code(kind.__new__(kind)) == code


LIGHT = [
    (["serve", "--help"], {"pydantic_ai", "sqlmodel", "typer", "fastapi", "mcp"}),
    (["agents", "list"], {"pydantic_ai", "sqlmodel", "mcp"}),
    (["models"], {"pydantic_ai", "sqlmodel", "mcp"}),
    (["changes", "--root", "/usr"], {"pydantic_ai", "sqlmodel", "mcp"}),
    (["uninstall", "cursor"], {"pydantic_ai", "sqlmodel", "mcp"}),
    (["--help"], {"pydantic_ai", "sqlmodel", "mcp"}),
]


@pytest.mark.parametrize(
    ("arguments", "heavy"), LIGHT, ids=lambda value: " ".join(sorted(value))[:20]
)
def test_command_that_runs_no_agent_does_not_load_what_runs_agents(
    arguments: list[str], heavy: set[str]
) -> None:
    """Cold start is a feature: a host starts the server on every launch."""
    assert not loaded_by(*arguments) & heavy


def loaded_by(*arguments: str) -> set[str]:
    """Return the modules that a command has loaded at its end."""
    code = (
        "import sys, contextlib; sys.argv = ['workyard', *sys.argv[1:]]\n"
        "from orchestrator.cli import main\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split())


@pytest.mark.parametrize("url", ["nonsense", "sqlite:///~nobody-of-this-name/x.db", "sqlite://"])
def test_database_url_that_cannot_be_used_hides_no_agents_and_no_models(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("WORKYARD_DATABASE_URL", url)

    assert "repo_guide" in workyard("agents", "list").stdout
    assert "repo_guide.yaml: ok" in workyard("agents", "validate").stdout
    assert workyard("agents", "validate", "repo_guide").exit_code == 0
    assert "offline" in workyard("models").stdout
    assert workyard("sessions", "list").exit_code == 2
    assert workyard("ask", "What?", "--model", "offline").exit_code == 2
