"""One catalogue: files first, then definitions; and a run names on record which version it ran."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any  # what JSON holds

import pytest

from mcp_server.fence.grant import Grant
from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.definition import Visibility
from orchestrator.errors import LimitError, NotFoundError, OrchestratorError, SpecError
from orchestrator.events import ToolReturned
from orchestrator.lifecycle import RunStatus
from orchestrator.owners import owner_of
from orchestrator.session import LOCAL_OWNER
from orchestrator.settings import Settings
from tests.orchestrator.by_hand import rows
from tests.orchestrator.played import playing, record_of
from tests.orchestrator.test_teams import WRITE, delegate, team_of

BUDGET = {"Budget": {"requests": 5, "total_tokens": 1000, "cost_usd": "0.5"}}


def values(name: str, *capabilities: Any, **more: Any) -> dict[str, Any]:
    said = {"name": name, "description": f"Is {name}.", "instructions": name, **more}
    return {**said, "capabilities": [*capabilities]} if capabilities else said


async def test_definition_runs_and_the_record_leads_to_its_version(yard: Orchestrator) -> None:
    await yard.definitions.create(values("scribe"))
    await yard.definitions.edit("scribe", values("scribe", tool_timeout=5), made_from=1)

    run = await yard.run("scribe", "go", model=playing("Done."))
    await yard.definitions.edit("scribe", values("scribe", tool_timeout=6), made_from=2)
    await yard.definitions.delete("scribe")

    row = (await yard.sessions.run(run.run_id)).row
    assert (row.agent, row.status) == ("scribe", "succeeded")
    assert await yard.definitions.with_hash(row.spec_sha256) == ["local/scribe@2"]


async def test_edit_counts_from_the_next_run_on(yard: Orchestrator) -> None:
    await yard.definitions.create(values("scribe"))
    first = await yard.run("scribe", "go", model=playing("Done."))
    now = await yard.definitions.edit("scribe", values("scribe", tool_timeout=5), made_from=1)
    second = await yard.run("scribe", "go", model=playing("Done."))

    hashes = [(await yard.sessions.run(r.run_id)).row.spec_sha256 for r in (first, second)]
    assert hashes[0] != hashes[1] == now.sha256


async def test_file_comes_before_a_definition_of_its_name(yard: Orchestrator) -> None:
    mine = await yard.definitions.create(values("repo_guide"))

    assert (await yard.agents.get("repo_guide")).sha256 != mine.sha256
    assert await yard.agents.get("local/repo_guide") == mine


async def test_unknown_agent_names_near_files_and_definitions(yard: Orchestrator) -> None:
    await yard.definitions.create(values("release_notes"))

    for asked, near in (("relase_notes", "release_notes"), ("repo_gide", "repo_guide")):
        with pytest.raises(NotFoundError, match=f"no agent '{asked}'; did you mean '{near}'"):
            await yard.run(asked, "go", model="offline")


async def test_definitions_of_an_owner_are_those_that_its_runs_find(yard: Orchestrator) -> None:
    await yard.definitions.of("ada").create(values("scribe"))

    run = await yard.run("scribe", "go", model=playing("Done."), owner="ada")
    assert (await yard.sessions.get(run.session_id)).owner == "ada"
    for owner in (None, "zoe"):
        with pytest.raises(NotFoundError):
            await yard.run("ada/scribe", "go", model="offline", owner=owner)


async def test_shared_definition_is_run_and_resumed_by_another(yard: Orchestrator) -> None:
    ada = yard.definitions.of("ada")
    made = await ada.create(values("scribe", BUDGET), visibility=Visibility.SHARED)

    async def fail() -> None:
        raise ConnectionError

    with pytest.raises(OrchestratorError):
        await yard.run("ada/scribe", "go", model=playing(fail), owner="zoe")
    (session,) = (await yard.sessions.of("zoe").list()).sessions
    resumed = await yard.resume(session.id, model=playing("Done."))
    assert (await resumed.result()).output == "Done. "
    assert resumed.claimed.draft.spec_sha256 == made.sha256

    replay = await yard.replay_in_place(resumed.claimed.id)
    assert not replay.spec_changed
    await ada.edit("scribe", made.values, made_from=1, visibility=Visibility.PRIVATE)
    with pytest.raises(NotFoundError):
        await yard.replay_in_place(resumed.claimed.id)


async def test_definition_asks_files_and_definitions_within_its_rights(yard: Orchestrator) -> None:
    """A delegate of any origin has no more than who asks."""
    reads = {"WorkspaceTools": {"tools": ["read_file"], "read": ["**"]}}
    writes = {"WorkspaceTools": {"tools": ["write_file"], "read": ["**"], "write": ["**"]}}
    asks = {"SubAgents": {"agents": ["writer"]}}
    await yard.definitions.create(values("writer", writes))
    await yard.definitions.create(values("chief", reads, asks))
    model = team_of(
        chief=[[delegate("writer")], "Asked."],
        writer=[[WRITE], "Tried."],
    )

    run = await yard.run("chief", "go", model=model)

    assert run.output == "Asked."
    assert not (yard.root / "new.txt").exists()
    below = rows(
        "SELECT session.id FROM session JOIN run ON run.session_pk = session.pk "
        "WHERE run.agent = 'writer'"
    )
    events = [e.event for e in await yard.sessions.events(below[0][0])]
    assert [e.outcome for e in events if isinstance(e, ToolReturned)] == ["retried"]


async def test_team_is_for_a_run_what_it_was_when_the_run_began(yard: Orchestrator) -> None:
    asks = {"SubAgents": {"agents": ["writer"]}}
    first = await yard.definitions.create(values("writer"))
    await yard.definitions.create(values("chief", asks))

    async def edit() -> str:
        await yard.definitions.edit("writer", values("writer", tool_timeout=9), made_from=1)
        return "Edited."

    model = team_of(
        chief=[[delegate("writer", "One.")], [delegate("writer", "Two.")], "Done."],
        writer=[edit, "x"],
    )
    await yard.run("chief", "go", model=model)

    hashes = rows("SELECT DISTINCT spec_sha256 FROM run WHERE agent = 'writer'")
    assert hashes == [(first.sha256,)]


def asking(*names: str) -> dict[str, Any]:
    return {"SubAgents": {"agents": [*names]}}


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("nobody", r"agents\[0\]: There is no agent 'nobody'.* Create it, name the directory of"),
        ("chief", "in a circle: chief → chief. Leave one of them out"),
        ("local/chief", "in a circle: chief → local/chief"),
        ("lead", "in a circle: chief → lead → chief"),
        ("local/lead", "in a circle: chief → lead → chief"),
        ("far", "in a circle: chief → far → local/chief"),
        ("ada/lead", "no agent 'ada/lead'"),
    ],
)
async def test_agent_that_asks_nobody_there_is_or_in_a_circle_is_not_put_on_record(
    project: Path, tmp_path: Path, asked: str, problem: str
) -> None:
    """Circles lead through files and definitions, by either of their names."""
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "far.yaml").write_text(json.dumps(values("far", asking("local/chief"))))
    async with Orchestrator.open(project, specs=specs, connect=InProcessConnection) as yard:
        await yard.definitions.of("ada").create(values("lead"))
        await yard.definitions.create(values("chief"))
        await yard.definitions.create(values("lead", asking("chief")))

        with pytest.raises(SpecError, match=problem):
            await yard.definitions.edit("chief", values("chief", asking(asked)), made_from=1)
        assert (await yard.definitions.get("chief")).origin.version == 1
        await yard.definitions.edit("lead", values("lead"), made_from=1)
        await yard.definitions.delete("chief")
        if asked in ("nobody", "chief", "local/chief", "ada/lead"):  # so too where it is made
            with pytest.raises(SpecError, match=problem):
                await yard.definitions.create(values("chief", asking(asked)))


async def test_agent_that_the_team_has_lost_is_said_before_a_run_begins(
    yard: Orchestrator,
) -> None:
    await yard.definitions.create(values("lead"))
    await yard.definitions.create(values("chief", asking("lead")))
    await yard.definitions.create(values("boss", asking("chief")))
    await yard.definitions.delete("lead")

    for name in ("chief", "boss"):
        with pytest.raises(SpecError, match=r"chief@1: .*agents.0.: There is no agent 'lead'"):
            await yard.run(name, "go", model="offline")
    edited = await yard.definitions.edit("chief", values("chief"), made_from=1)
    assert edited.origin.version == 2
    with pytest.raises(SpecError, match="There is no agent 'lead'"):
        await yard.definitions.rollback("chief", 1)


async def test_circle_that_was_closed_by_hand_is_said_before_a_run_begins(
    yard: Orchestrator,
) -> None:
    """As two edits at one moment would do it, of which neither knows of the other."""
    await yard.definitions.create(values("lead"))
    await yard.definitions.create(values("chief", asking("lead")))
    circle = await yard.definitions.edit("chief", values("chief", tool_timeout=5), made_from=1)
    await yard.definitions.edit("lead", values("lead", asking("chief")), made_from=1)
    rows("UPDATE definition SET current = 1 WHERE name = 'chief'")

    assert circle.origin.version == 2
    with pytest.raises(SpecError, match="in a circle: chief → lead → chief"):
        await yard.run("chief", "go", model="offline")


async def test_definition_that_a_file_hides_may_ask_that_file(yard: Orchestrator) -> None:
    """They are two agents, although they have one name."""
    await yard.definitions.create(values("repo_guide", asking("repo_guide")))
    itself = values("repo_guide", asking("local/repo_guide"))

    with pytest.raises(SpecError, match="in a circle"):
        await yard.definitions.edit("repo_guide", itself, made_from=1)


async def test_version_runs_and_is_asked_by_its_number(yard: Orchestrator) -> None:
    first = await yard.definitions.create(values("scribe"))
    await yard.definitions.edit("scribe", values("scribe", tool_timeout=5), made_from=1)
    await yard.definitions.create(values("chief", asking("scribe@1")))
    model = team_of(chief=[[delegate("scribe@1")], "Asked."], scribe=["Done."])

    await yard.run("scribe@1", "go", model=playing("Done."))
    await yard.run("chief", "go", model=model)

    assert rows("SELECT spec_sha256 FROM run WHERE agent = 'scribe'") == [(first.sha256,)] * 2
    with pytest.raises(NotFoundError, match="no version 'scribe@3'; did you mean 'scribe@2'"):
        await yard.run("scribe@3", "go", model="offline")


async def test_run_of_a_definition_that_a_file_hides_goes_on_as_that_definition(
    yard: Orchestrator,
) -> None:
    mine = await yard.definitions.create(values("repo_guide"))

    async def fail() -> None:
        raise ConnectionError

    with pytest.raises(OrchestratorError):
        await yard.run("local/repo_guide", "go", model=playing(fail))
    (session,) = (await yard.sessions.list()).sessions
    resumed = await yard.resume(session.id, model=playing("Done."))

    assert (await resumed.result()).output == "Done. "
    assert resumed.claimed.draft.spec_sha256 == mine.sha256


async def test_run_under_a_narrower_grant_goes_on_with_the_same_agents(
    yard: Orchestrator, own_surroundings: Path
) -> None:
    owner = owner_of("", Grant.full().model_copy(update={"tools": ("read_file",)}))
    file = own_surroundings / "config" / "agents" / "boss.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values("boss", {"SubAgents": {"agents": ["scribe"]}})))
    await yard.definitions.create(values("scribe"))
    model = team_of(boss=[[delegate("scribe")], "Done."], scribe=["Written."])
    handle = await yard.start("boss", "go", model=model, owner=owner, agents_of=LOCAL_OWNER)
    await yard.cancel(handle.claimed.id)

    resumed = await yard.resume(handle.claimed.session_id, model=model)

    assert (await resumed.result()).output == "Done."


async def test_team_of_hundreds_is_refused_before_it_is_loaded(yard: Orchestrator) -> None:
    names = [f"m{n}" for n in range(128)]
    for name in names:
        await yard.definitions.create(values(name))
    for n in range(4):
        below = asking(*names[n * 32 : n * 32 + 32])
        await yard.definitions.create(values(f"lead{n}", below))

    with pytest.raises(LimitError, match="more than 100 agents below 'chief'"):
        await yard.definitions.create(values("chief", asking(*(f"lead{n}" for n in range(4)))))
    await yard.definitions.create(values("chief", asking("lead0", "lead1", "lead2")))
    await yard.definitions.edit("m0", values("m0", asking("m96", "m97")), made_from=1)
    with pytest.raises(LimitError, match="more than 100 agents below 'chief'"):
        await yard.run("chief", "go", model="offline")


async def test_agent_cannot_get_at_its_own_definition(project: Path) -> None:
    """The record lies out of reach, also below the root: a spec says what its agent may."""
    database = f"sqlite+aiosqlite:///{project / 'record' / 'w.db'}"
    all_of_it = {
        "WorkspaceTools": {
            "tools": ["read_file", "write_file", "delete_path", "list_directory"],
            "read": ["**"],
            "write": ["**"],
        }
    }

    settings = Settings(database_url=database)
    async with Orchestrator.open(project, settings=settings, connect=InProcessConnection) as yard:
        made = await yard.definitions.create(values("scribe", all_of_it))
        calls = [
            ("read_file", '{"path": "record/w.db"}'),
            ("write_file", '{"path": "record/w.db", "content": "x"}'),
            ("write_file", '{"path": "record/w.db-wal", "content": "x"}'),
            ("delete_path", '{"path": "record/w.db"}'),
        ]
        run = await yard.run("scribe", "go", model=playing(calls, "Done."))
        events = await record_of(yard, run.session_id)
        outcomes = [e.event.outcome for e in events if isinstance(e.event, ToolReturned)]

        assert outcomes == ["failed"] * 4
        assert await yard.definitions.get("scribe") == made


async def test_agent_cannot_get_at_the_program_that_holds_it_in(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many a project has it in an environment below the root."""
    fence = project / "env" / "lib" / "mcp_server" / "fence.py"
    fence.parent.mkdir(parents=True)
    fence.write_text("SAFE = True\n")
    monkeypatch.setattr(sys, "prefix", str(project / "env"))
    all_of_it = {
        "WorkspaceTools": {"tools": ["write_file", "move_path"], "read": ["**"], "write": ["**"]}
    }
    async with Orchestrator.open(project, connect=InProcessConnection) as yard:
        await yard.definitions.create(values("scribe", all_of_it))
        calls = [
            ("write_file", '{"path": "env/lib/mcp_server/fence.py", "content": ""}'),
            ("write_file", '{"path": "env/lib/new.pth", "content": "import os"}'),
            ("move_path", '{"source": "env", "destination": "old"}'),
        ]
        run = await yard.run("scribe", "go", model=playing(calls, "Done."))
        events = await record_of(yard, run.session_id)

    returned = [e.event for e in events if isinstance(e.event, ToolReturned)]
    assert [(event.outcome, "denied" in str(event.content)) for event in returned] == [
        ("failed", True)
    ] * 3
    assert fence.read_text() == "SAFE = True\n"


async def test_instructions_on_record_are_those_of_the_version(yard: Orchestrator) -> None:
    made = await yard.definitions.create(values("scribe"))

    run = await yard.run("scribe", "go", model=playing("Done."))

    (sha256,) = rows("SELECT spec_sha256 FROM run WHERE id = ?", run.run_id)[0]
    text = json.dumps(made.values, sort_keys=True, separators=(",", ":"))
    assert sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert (await yard.sessions.run(run.run_id)).status is RunStatus.SUCCEEDED
