"""What agents change is on record under their names, and can be shown and taken back."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # deps of any type

import pytest
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    TextPart,
    ToolCallPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from mcp_server.callers import KEY, caller_from, meta_of
from mcp_server.fence.changes.change import Caller
from mcp_server.fence.grant import Grant
from mcp_server.settings import JournalSettings
from orchestrator.agents import CapabilityTypes
from orchestrator.bootstrap import Orchestrator
from orchestrator.capabilities import CAPABILITIES, capabilities_at
from orchestrator.connections import InProcessConnection, StdioConnection
from orchestrator.errors import (
    ChangeNotFoundError,
    ConflictError,
    InvalidInputError,
    WorkspaceUnavailableError,
)
from orchestrator.events import ToolReturned
from orchestrator.history.history import History
from orchestrator.runner import RunResult
from orchestrator.settings import Settings, load_settings
from tests.orchestrator.played import Call, playing

SPECS = """\
name: sample
description: d
instructions: x
capabilities:
  - WorkspaceTools:
      tools: [read_file, write_file, move_path, delete_path, make_directory]
      read: ["**"]
      write: ["**"]
"""


def write(path: str, content: str) -> Call:
    return "write_file", json.dumps({"path": path, "content": content})


def move(source: str, destination: str) -> Call:
    return "move_path", json.dumps({"source": source, "destination": destination})


def delete(path: str) -> Call:
    return "delete_path", json.dumps({"path": path})


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    directory = tmp_path / "specs"
    directory.mkdir()
    (directory / "sample.yaml").write_text(SPECS)
    return directory


@pytest.fixture
async def yard(project: Path, specs: Path) -> AsyncIterator[Orchestrator]:
    async with Orchestrator.open(project, specs=specs, connect=InProcessConnection) as opened:
        yield opened


async def run_of(yard: Orchestrator, *calls: Call) -> RunResult:
    """Return a run that has made these calls, one after the other."""
    return await yard.run("sample", "go", model=playing(*([call] for call in calls), "Done."))


async def test_what_a_run_writes_is_on_record_under_agent_session_and_run(project: Path) -> None:
    """By the server's own process: it and we must mean the same journal."""
    async with Orchestrator.open(project) as yard:
        model = playing([write("docs/new.md", "new")], "Done.")
        run = await yard.run("doc_writer", "go", model=model)
        (call,) = await yard.changes()

    assert (call.actor, call.tool) == ("doc_writer", "write_file")
    assert (call.session_id, call.run_id) == (run.session_id, run.run_id)
    assert [(path.path, path.what) for path in call.paths] == [("docs/new.md", "created")]


async def test_settings_say_where_changes_are_kept_whatever_the_environment_says(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings().model_copy(update={"state_dir": tmp_path / "elsewhere"})
    monkeypatch.setenv("WORKYARD_STATE_DIR", str(tmp_path / "not-here"))

    async with Orchestrator.open(project, settings=settings) as yard:
        await yard.run("doc_writer", "go", model=playing([write("a.md", "a")], "Done."))

        assert len(await yard.changes()) == 1
    assert list((tmp_path / "elsewhere" / "journals").iterdir())
    assert not (tmp_path / "not-here").exists()


@pytest.mark.parametrize("variable", ["WORKYARD_STATE_DIR", "XDG_STATE_HOME", None])
def test_server_and_orchestrator_look_for_the_journal_in_the_same_place(
    variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WORKYARD_STATE_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "state"))

    assert JournalSettings.load().directory == load_settings().state_dir / "journals"


def test_journal_settings_reach_another_process_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKYARD_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("WORKYARD_JOURNAL_DAYS", "0.25")
    monkeypatch.setenv("WORKYARD_JOURNAL_MB", "1.5")
    settings = JournalSettings.load()

    assert JournalSettings.load(settings.environ) == settings
    assert (settings.keep_s, settings.keep_bytes) == (21_600, 1_500_000)


def answering(*answers: ModelResponse) -> FunctionModel:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return answers[sum(isinstance(m, ModelResponse) for m in messages)]

    return FunctionModel(answer)


def plain_agent(
    specs: Path, *answers: ModelResponse, types: CapabilityTypes = CAPABILITIES
) -> Agent[Any, str]:
    done = ModelResponse(parts=[TextPart("Done.")])
    model = answering(*answers, done)
    return Agent.from_file(specs / "sample.yaml", custom_capability_types=types, model=model)


def asking(*calls: Call, call_id: str) -> ModelResponse:
    return ModelResponse(parts=[ToolCallPart(*call, tool_call_id=call_id) for call in calls])


@pytest.fixture
def history(project: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """Return that of the project, which is the current directory too."""
    monkeypatch.chdir(project)
    return History(project, load_settings().state_dir)


async def test_plain_pydantic_ai_is_on_record_by_the_ids_that_it_gives(
    specs: Path, history: History
) -> None:
    agent = plain_agent(specs, asking(write("a.md", "a"), call_id="1"))

    result = await agent.run("go", conversation_id="talk")

    (call,) = await history.changes()
    assert (call.actor, call.run_id, call.session_id) == ("sample", result.run_id, "talk")


async def test_calls_to_which_a_model_gives_the_same_id_are_all_made(
    specs: Path, history: History, project: Path
) -> None:
    """Some models count anew in each answer."""
    agent = plain_agent(
        specs,
        asking(write("a.md", "1"), call_id="0"),
        asking(write("a.md", "2"), call_id="0"),
        asking(write("a.md", "1"), call_id="0"),
        types=capabilities_at(InProcessConnection(project)),
    )

    await agent.run("go")

    assert (project / "a.md").read_text() == "1"
    assert len(await history.changes()) == 3


async def test_calls_of_one_answer_are_all_made(yard: Orchestrator) -> None:
    model = playing([write("a.md", "1"), write("b.md", "1")], "Done.")

    run = await yard.run("sample", "go", model=model)

    assert len(await yard.changes(run=run.run_id)) == 2


async def test_run_that_goes_on_after_a_crash_does_not_do_its_last_step_twice(
    specs: Path, history: History, project: Path
) -> None:
    """The answer was on record, what its calls returned was not: they are made again."""
    types = capabilities_at(InProcessConnection(project))
    agent = plain_agent(specs, asking(write("a.md", "agent's"), call_id="1"), types=types)
    before = (await agent.run("go")).all_messages()[:2]
    (project / "a.md").write_text("the owner's, since")

    stored = ModelMessagesTypeAdapter.dump_json(before)
    result = await agent.run(message_history=ModelMessagesTypeAdapter.validate_json(stored))

    assert result.output == "Done."
    assert (project / "a.md").read_text() == "the owner's, since"
    assert len(await history.changes()) == 1


async def test_call_that_is_sent_twice_with_one_key_is_made_once(project: Path) -> None:
    grant = Grant(tools=("write_file",), read=("**",), write=("**",))
    toolset = MCPToolset[None](StdioConnection(project).transport(grant), init_timeout=60)
    arguments = {"path": "a.md", "content": "first"}

    async with toolset:
        for _ in range(2):
            await toolset.direct_call_tool("write_file", arguments, metadata={KEY: "k"})
            (project / "a.md").write_text("since")
        other = await toolset.client.call_tool(
            "write_file", {**arguments, "content": "other"}, meta={KEY: "k"}, raise_on_error=False
        )

    assert (project / "a.md").read_text() == "since"
    assert "belongs to another" in str(other.content)
    assert len(await History(project, load_settings().state_dir).changes()) == 1


def test_caller_arrives_as_it_was_sent_without_what_no_server_would_take() -> None:
    sound = Caller(actor="doc writer", session="s", run="r", key="k" * 200)
    unsound = Caller(actor="a\nb", session="s" * 201, run="", key="\x1b")

    assert caller_from(meta_of(sound), "host") == sound
    assert meta_of(unsound) == {}


async def test_changes_are_listed_by_session_and_by_run_the_newest_first(
    yard: Orchestrator,
) -> None:
    one = await run_of(yard, write("a.md", "1"), write("b.md", "1"))
    model = playing([write("c.md", "1")], "Done.")
    two = await yard.run("sample", "go", model=model, session_id=one.session_id)
    await run_of(yard, write("d.md", "1"))

    async def numbers(**which: str) -> list[int]:
        return [call.number for call in await yard.changes(**which)]  # type: ignore[arg-type]  # one of its keys

    assert await numbers() == [4, 3, 2, 1]
    assert await numbers(session=one.session_id) == [3, 2, 1]
    assert await numbers(run=one.run_id) == [2, 1]
    assert await numbers(run=two.run_id[-12:]) == await numbers(run=two.run_id) == [3]
    assert await numbers(run=two.run_id[:12]) == []
    assert [call.number for call in await yard.changes(limit=2)] == [4, 3]


@pytest.fixture
def tree(project: Path) -> dict[str, bytes]:
    """Return what there is in the project before a run, with bytes that are no text."""
    (project / "old.bin").write_bytes(b"\x00\xff")
    (project / "latin.txt").write_bytes(b"caf\xe9\r\n")
    return snapshot(project)


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*.*")}


EVERYTHING = (
    write("README.md", "other\n"),
    write("deep/er/new.md", "new\n"),
    write("README.md", "another\n"),
    move("docs", "papers"),
    write("papers/rounding.md", "changed\n"),
    delete("old.bin"),
    write("latin.txt", "now\r\n"),
    move("src/till.py", "till.py"),
)


async def test_undo_of_a_run_restores_every_byte(
    yard: Orchestrator, project: Path, tree: dict[str, bytes]
) -> None:
    run = await run_of(yard, *EVERYTHING)
    after = snapshot(project)

    undo = await yard.undo(run=run.run_id)
    restored = snapshot(project)
    again = await yard.undo(number=undo.number)

    assert restored == tree != after
    assert len(undo.calls) == len(EVERYTHING)
    assert snapshot(project) == after
    assert [call.number for call in again.calls] == [undo.number]


async def test_last_change_is_undone_when_none_is_named(yard: Orchestrator, project: Path) -> None:
    await run_of(yard, write("a.md", "1"), write("a.md", "2"))

    undone = [(await yard.undo()).calls[0].number for _ in range(2)]

    assert undone == [2, 1]
    assert not (project / "a.md").exists()
    with pytest.raises(ChangeNotFoundError, match="nothing to undo"):
        await yard.undo()


async def test_undo_does_not_trample_on_what_others_did_since(
    yard: Orchestrator, project: Path
) -> None:
    run = await run_of(yard, write("a.md", "1"), write("b.md", "1"))
    (project / "a.md").write_text("mine")

    with pytest.raises(ConflictError, match=r"'a\.md' has been changed since"):
        await yard.undo(run=run.run_id)
    kept = snapshot(project)
    await yard.undo(run=run.run_id, force=True)

    assert (kept["a.md"], kept["b.md"]) == (b"mine", b"1")
    assert not (project / "a.md").exists()
    assert not (project / "b.md").exists()


async def test_undo_that_is_only_looked_at_does_nothing(yard: Orchestrator, project: Path) -> None:
    await run_of(yard, write("a.md", "1"))
    (project / "a.md").write_text("mine")

    with pytest.raises(ConflictError):
        await yard.history.preview_undo()
    undo = await yard.history.preview_undo(force=True)

    assert (undo.number, [(p.path, p.what) for p in undo.paths]) == (None, [("a.md", "deleted")])
    assert (project / "a.md").read_text() == "mine"
    assert len(await yard.changes()) == 1


async def test_diff_is_from_before_the_first_call_to_after_the_last(
    yard: Orchestrator, tree: dict[str, bytes]
) -> None:
    run = await run_of(yard, *EVERYTHING, write("brief.md", "x"), delete("brief.md"))

    assert (await yard.history.diff(run=run.run_id)) == (
        "--- a/README.md\n+++ b/README.md\n"
        "@@ -1,3 +1,1 @@\n-# Sample\n-\n-A till that adds prices.\n+another\n"
        "nothing -> directory: deep\n"
        "nothing -> directory: deep/er\n"
        "--- /dev/null\n+++ b/deep/er/new.md\n@@ -0,0 +1,1 @@\n+new\n"
        "moved docs -> papers\n"
        "--- a/docs/rounding.md\n+++ b/papers/rounding.md\n"
        "@@ -1,3 +1,1 @@\n-# Rounding\n-\n-Totals are rounded to two places.\n+changed\n"
        "--- a/old.bin\n+++ /dev/null\nfile of 2 bytes -> nothing, not text\n"
        "--- a/latin.txt\n+++ b/latin.txt\n@@ -1,1 +1,1 @@\n-caf\\xe9\n+now\n"
        "moved src/till.py -> till.py\n"
    )


async def test_diff_follows_a_file_to_where_it_has_gone(yard: Orchestrator) -> None:
    run = await run_of(
        yard,
        write("a.md", "1\n"),
        move("a.md", "b.md"),
        write("a.md", "other\n"),
        delete("a.md"),
        move("b.md", "a.md"),
        write("a.md", "2\n"),
    )

    assert await yard.history.diff(run=run.run_id) == (
        "--- /dev/null\n+++ b/a.md\n@@ -0,0 +1,1 @@\n+2\n"
    )


async def test_diff_does_not_take_what_comes_in_the_place_of_a_file_for_that_file(
    yard: Orchestrator, project: Path
) -> None:
    (project / "a.md").write_text("a\n")
    run = await run_of(
        yard,
        delete("README.md"),
        move("a.md", "README.md"),
        write("README.md", "b\n"),
        delete("docs/rounding.md"),
        move("docs", "papers"),
        write("papers/rounding.md", "new\n"),
    )

    assert await yard.history.diff(run=run.run_id) == (
        "--- a/README.md\n+++ /dev/null\n"
        "@@ -1,3 +0,0 @@\n-# Sample\n-\n-A till that adds prices.\n"
        "--- a/a.md\n+++ b/README.md\n@@ -1,1 +1,1 @@\n-a\n+b\n"
        "--- a/docs/rounding.md\n+++ /dev/null\n"
        "@@ -1,3 +0,0 @@\n-# Rounding\n-\n-Totals are rounded to two places.\n"
        "moved docs -> papers\n"
        "--- /dev/null\n+++ b/papers/rounding.md\n@@ -0,0 +1,1 @@\n+new\n"
    )


async def test_diff_shows_what_undo_would_take_back(yard: Orchestrator) -> None:
    await run_of(yard, write("a.md", "1\n"), write("b.md", "1\n"))

    first = await yard.history.diff()
    await yard.undo()
    second = await yard.history.diff()

    assert ("b.md" in first, "a.md" in first) == (True, False)
    assert ("b.md" in second, "a.md" in second) == (False, True)
    assert await yard.history.diff(number=2) == first
    await yard.undo()
    with pytest.raises(ChangeNotFoundError, match="nothing to show"):
        await yard.history.diff()


async def test_session_that_is_empty_does_not_mean_every_call_without_one(
    yard: Orchestrator, project: Path
) -> None:
    """As from a script whose variable is not set."""
    await run_of(yard, write("a.md", "1"))

    for which in ({"session": ""}, {"run": ""}):
        with pytest.raises(InvalidInputError, match="is empty"):
            await yard.undo(**which)  # type: ignore[arg-type]  # one of its keys


async def test_changes_are_undone_while_a_server_holds_the_root(
    yard: Orchestrator, project: Path
) -> None:
    gone: list[bool] = []

    async def undo() -> None:
        await yard.undo()
        gone.append(not (project / "a.md").exists())

    await yard.run("sample", "go", model=playing([write("a.md", "1")], undo))

    assert gone == [True]


@dataclass(frozen=True)
class Home:
    """A root with the state directory in it."""

    root: Path
    settings: Settings


@pytest.fixture
def home(project: Path) -> Home:
    inside = project / ".local" / "state"
    return Home(project, load_settings().model_copy(update={"state_dir": inside}))


@pytest.mark.parametrize("connect", [StdioConnection, InProcessConnection])
async def test_agent_that_may_write_is_refused_where_its_journal_would_lie(
    connect: type[StdioConnection | InProcessConnection], home: Home
) -> None:
    async with Orchestrator.open(home.root, settings=home.settings, connect=connect) as yard:
        with pytest.raises(InvalidInputError, match=r"^The journal would.* WORKYARD_STATE_DIR"):
            await yard.start("doc_writer", "go", model=playing("x"))

        assert await yard.sessions.latest() == []


async def test_agent_that_only_reads_works_above_the_journals_and_cannot_read_them(
    home: Home,
) -> None:
    journal = home.settings.state_dir / "journals" / "other" / "journal.db"
    journal.parent.mkdir(parents=True)
    journal.write_text("what others wrote")
    path = journal.relative_to(home.root).as_posix()
    model = playing([("read_file", json.dumps({"path": path}))], "Done.")

    async with Orchestrator.open(
        home.root, settings=home.settings, connect=InProcessConnection
    ) as yard:
        run = await yard.run("repo_guide", "go", model=model)
        events = [e.event async for e in yard.sessions.all_events(run.session_id)]

    assert "out of reach" in str(events)
    assert "what others wrote" not in str(events)


async def test_nothing_is_changed_without_a_journal_and_all_are_told_so(
    project: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    settings = load_settings().model_copy(update={"state_dir": tmp_path / "file"})
    model = playing([write("a.md", "1")], "Done.")
    told = "The journal of changes cannot be used: Not a directory."

    async with Orchestrator.open(project, settings=settings, connect=InProcessConnection) as yard:
        run = await yard.run("doc_writer", "go", model=model)
        events = [e.event async for e in yard.sessions.all_events(run.session_id)]
        with pytest.raises(WorkspaceUnavailableError, match=told):
            await yard.changes()

    (answer,) = [event for event in events if isinstance(event, ToolReturned)]
    assert answer.outcome != "success"
    assert told in answer.content
    assert not (project / "a.md").exists()
