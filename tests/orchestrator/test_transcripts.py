"""Transcripts: those of this root, and of a long one the end."""

from pathlib import Path

import anyio
import pytest
from mcp_types import INTERNAL_ERROR
from pydantic_ai.models.test import TestModel

from mcp_server.errors import NotFoundError, UnavailableError
from mcp_server.ports import Offers
from orchestrator import transcripts
from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.settings import Settings
from orchestrator.transcripts import Record, RecordedTranscripts
from tests.orchestrator.served import desk, refused


async def run(root: Path, settings: Settings, prompt: str, session: str | None = None) -> str:
    model = TestModel(call_tools=[], custom_output_text="So it is.")
    async with Orchestrator.open(root, settings=settings, connect=InProcessConnection) as yard:
        return (await yard.run("repo_guide", prompt, model=model, session_id=session)).session_id


async def test_session_is_listed_and_told_as_it_goes_on(project: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "record")
    session = await run(project, settings, "One?")
    async with anyio.create_task_group() as tasks:
        told = RecordedTranscripts(Record(settings, tasks), project.resolve())
        (card,) = await told.list()
        first = await told.version(session)
        await run(project, settings, "Two?", session)
        second = await told.version(session)
        text = await told.read(session)
        tasks.cancel_scope.cancel()

    assert (card.id, card.title, card.agent) == (session, "One?", "repo_guide")
    assert first != second
    assert text.index("> One?") < text.index("> Two?") < text.rindex("So it is.")


async def test_of_a_long_session_the_end_is_told(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "MAX_CHARS", 300)
    settings = Settings(data_dir=tmp_path / "record")
    session = await run(project, settings, "One? " + "x" * 400)
    await run(project, settings, "Two?", session)
    async with anyio.create_task_group() as tasks:
        told = RecordedTranscripts(Record(settings, tasks), project.resolve())
        text = await told.read(session)
        tasks.cancel_scope.cancel()

    assert "> Two?" in text
    assert "x" * 400 not in text
    assert f"workyard sessions export {session} --format markdown" in text


BAD_URLS = [
    "nonsense",
    "sqlite://",
    "sqlite:///~nobody-of-this-name/x.db",
    "sqlite:///x.db?mode=ro",
]


@pytest.mark.parametrize("url", BAD_URLS)
async def test_record_of_a_url_that_cannot_be_used_hides_no_agents(
    project: Path, tmp_path: Path, url: str
) -> None:
    settings = Settings(database_url=url)
    async with anyio.create_task_group() as tasks:
        told = RecordedTranscripts(Record(settings, tasks), project.resolve())
        async with desk(tmp_path / "desk", offers=Offers(transcripts=told)) as at:
            resources = (await at.client.list_resources()).resources
            error = await refused(at.client.read_resource("workyard://sessions/any"))
        tasks.cancel_scope.cancel()

    assert "workyard://agents/editor" in [each.uri for each in resources]
    assert "The database URL cannot be used" in error.message


async def test_record_that_cannot_be_opened_says_so_and_is_tried_again(
    project: Path, tmp_path: Path
) -> None:
    data = tmp_path / "record"
    data.mkdir()
    (data / "workyard.db").write_bytes(b"this is no database" * 100)
    settings = Settings(data_dir=data)
    async with anyio.create_task_group() as tasks:
        told = RecordedTranscripts(Record(settings, tasks), project.resolve())
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await told.list()
        async with desk(tmp_path / "desk", offers=Offers(transcripts=told)) as at:
            resources = (await at.client.list_resources()).resources
            error = await refused(at.client.read_resource("workyard://sessions/any"))
        (data / "workyard.db").unlink()
        assert await told.list() == ()
        with pytest.raises(NotFoundError):
            await told.read("x" * 1000)
        tasks.cancel_scope.cancel()

    assert [each.uri for each in resources] == [
        "workyard://agents/editor",
        "workyard://agents/idler",
    ]
    assert error.code == INTERNAL_ERROR
    assert "The record cannot be opened" in error.message
