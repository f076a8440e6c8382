"""What is on record reaches a terminal as text: it steers nothing, and feigns no other line."""

import io
import json
from collections.abc import Sequence
from typing import get_args

import anyio
import pytest
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from orchestrator.cli.terminal import Screen, print_table
from orchestrator.events import (
    AgentAsked,
    AgentMessage,
    ApprovalDecided,
    ApprovalRequested,
    Event,
    FileChanged,
    HistoryCompacted,
    ModelStoodIn,
    RunEnded,
    RunResumed,
    RunStarted,
    TextDelta,
    ThinkingDelta,
    ToolCalled,
    ToolReturned,
    UserMessage,
)
from orchestrator.lifecycle import RunStatus
from orchestrator.settings import load_settings
from orchestrator.store.store import open_store
from orchestrator.words import told
from tests.orchestrator.by_hand import rows, workyard

STEERING = "\x1b[2J\x1b]0;owned\x07\r\b\u009b1m\u202eevil\u2066\u061c\u2028[red]x[/red] :bug:"
HOSTILE = f"{STEERING}\nFORGED"
ORDERS = set("\x1b\x07\r\b\u009b\u202e\u2066\u061c\u2028\x00")

EVENTS: list[Event] = [
    RunStarted(agent=HOSTILE, model=HOSTILE, spec_sha256=""),
    RunResumed(attempt=2, model=HOSTILE, spec_sha256=""),
    UserMessage(content=HOSTILE),
    TextDelta(content=HOSTILE),
    ThinkingDelta(content=HOSTILE),
    AgentMessage(content=HOSTILE),
    ToolCalled(call_id=HOSTILE, tool=HOSTILE, arguments={HOSTILE: {HOSTILE: HOSTILE}}),
    ToolReturned(call_id=HOSTILE, tool=HOSTILE, outcome="success", content=HOSTILE),
    ToolReturned(call_id=HOSTILE, tool=HOSTILE, outcome="failed", content=HOSTILE),
    FileChanged(call_id="c", path=HOSTILE, kind="moved", moved_from=HOSTILE, added=1, removed=1),
    ModelStoodIn(model=HOSTILE, failed=(HOSTILE, HOSTILE)),
    AgentAsked(call_id="c", agent=HOSTILE, session_id=HOSTILE, run_id=HOSTILE),
    ApprovalRequested(call_id="c", tool=HOSTILE, arguments={HOSTILE: HOSTILE}, preview=HOSTILE),
    ApprovalDecided(call_id="c", is_approved=False, by=HOSTILE, reason=HOSTILE),
    HistoryCompacted(upto=1, kept=0, message=2, reason="near_limit"),
    RunEnded(status=RunStatus.FAILED, error_code=HOSTILE, error_text=HOSTILE),
]


def steering(text: str) -> set[str]:
    return ORDERS & {*text}


def test_every_event_is_told_on_one_line_that_steers_nothing() -> None:
    lines = [line for line in map(told, EVENTS) if line is not None]

    assert {type(event) for event in EVENTS} == {*get_args(get_args(Event)[0])}
    assert len(lines) == 13
    for line in lines:
        assert "\n" not in line
        assert not steering(line)


def test_text_on_a_terminal_is_neither_markup_nor_an_order() -> None:
    file = io.StringIO()
    screen = Screen(file=file, force_terminal=True, color_system=None, width=500)

    screen.print(HOSTILE)
    screen.print("[1]", HOSTILE, style="dim")

    assert file.getvalue().count("[red]x[/red] :bug:") == 2
    assert not steering(file.getvalue())


def test_heads_of_a_table_are_text_too(capsys: pytest.CaptureFixture[str]) -> None:
    """One of them is the name of a recorded model."""
    print_table((HOSTILE, "[red]calls[/red]"), [(HOSTILE, HOSTILE)])

    shown = capsys.readouterr().out
    assert "[red]calls[/red]" in shown
    assert not steering(shown)


MESSAGES: list[ModelMessage] = [
    ModelRequest(parts=[UserPromptPart(HOSTILE)]),
    ModelResponse(
        parts=[ToolCallPart(HOSTILE, json.dumps({HOSTILE: HOSTILE}), "c1")], model_name=HOSTILE
    ),
    ModelRequest(parts=[ToolReturnPart(HOSTILE, {HOSTILE: HOSTILE}, "c1")]),
    ModelResponse(parts=[TextPart(HOSTILE)], model_name=HOSTILE),
]


@pytest.fixture
def session_id() -> str:
    """Return a session from elsewhere, which is hostile wherever it has text."""

    async def put_on_record() -> str:
        async with open_store(load_settings().effective_database_url) as store:
            text = ModelMessagesTypeAdapter.dump_json(MESSAGES).decode()
            named = {"agent": f"a{STEERING}", "external_id": STEERING, "root": f"/{HOSTILE}"}
            sessions = store.sessions.of(STEERING)
            made = await sessions.import_messages(text, title=STEERING, **named)
            await sessions.update_state(made.id, {HOSTILE: [HOSTILE]})
            return made.id

    found = anyio.run(put_on_record)
    hurt = (HOSTILE, HOSTILE, HOSTILE, json.dumps({HOSTILE: HOSTILE}))
    rows("UPDATE run SET agent = ?, error_text = ?, error_code = ?, output = ?", *hurt)
    return found


COMMANDS: list[Sequence[str]] = [
    ("sessions", "list"),
    ("sessions", "list", "--agent", HOSTILE),
    ("sessions", "list", "--cursor", HOSTILE),
    ("sessions", "show", "ID"),
    ("sessions", "show", HOSTILE),
    ("sessions", "follow", "ID"),
    ("sessions", "follow", "ID", "--json"),
    ("sessions", "state", "get", "ID"),
    ("sessions", "state", "get", "ID", HOSTILE),
    ("sessions", "resume", "ID"),
    ("sessions", "fork", "ID", "--at", "1"),
    ("sessions", "delete", "ID"),
    ("usage", "--by", "agent"),
    ("usage", "--by", "model"),
    ("usage", "--by", "owner"),
    ("usage", "--since", HOSTILE),
    ("replay", "RUN"),
    ("replay", "RUN", "--model", "offline", "--root", "."),
    ("replay", HOSTILE),
    ("run", HOSTILE, "x", "--model", HOSTILE),
    ("agents", "show", HOSTILE),
    ("agents", "validate", f"{HOSTILE}.yaml"),
    ("changes", "--session", HOSTILE),
    ("approvals", "list"),
]


def test_no_command_lets_a_record_steer_the_terminal(session_id: str) -> None:
    ((run_id,),) = rows("SELECT id FROM run")
    known = {"ID": session_id, "RUN": run_id}

    for command in COMMANDS:
        done = workyard(*(known.get(word, word) for word in command))

        assert not steering(done.stdout + done.stderr), command
        if command[:2] not in (("sessions", "show"), ("sessions", "follow"), ("sessions", "state")):
            assert "FORGED" not in done.stdout.splitlines(), command


def test_spec_file_of_any_name_is_named_as_text() -> None:
    own = load_settings().config_dir / "agents"
    own.mkdir(parents=True)
    (own / f"poet{STEERING.replace('/', '')}.yaml").write_text("name: poet\n")

    for command in (("list",), ("validate",)):
        done = workyard("agents", *command)
        assert "owned" in done.stdout + done.stderr
        assert not steering(done.stdout + done.stderr)
