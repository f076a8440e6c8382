"""The MCP edge: what is granted is offered and done, all else refused, nothing slips out."""

import logging
import os
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import mcp_types as types
import pytest
from mcp import Client, MCPError
from mcp.server.lowlevel import Server
from opentelemetry import trace

from mcp_server import errors
from mcp_server.errors import LimitError, ServerError, UnavailableError
from mcp_server.failures import translate
from mcp_server.fence.changes.change import Caller
from mcp_server.fence.grant import TOOL_NAMES, WRITING_TOOLS, Grant, Limits
from mcp_server.fence.ledger import Selection
from mcp_server.fence.workspace import Workspace
from mcp_server.server import create_server, installed_version
from mcp_server.tools.registry import TOOLS
from tests.mcp_server.conftest import SECRET, Yard


@asynccontextmanager
async def connected(yard: Yard, grant: Grant | None = None) -> AsyncIterator[Client]:
    async with (
        Workspace.open(yard.root, grant or Grant.full()) as workspace,
        Client(create_server(workspace)) as client,
    ):
        yield client


async def call(client: Client, name: str, arguments: dict[str, object]) -> tuple[bool, str]:
    result = await client.call_tool(name, arguments)
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    assert result.structured_content is None, "hosts show that to a model instead of the text"
    return result.is_error, block.text


async def test_every_granted_tool_is_offered_with_its_schema(yard: Yard) -> None:
    async with connected(yard) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert client.server_info is not None
        assert client.server_info.name == "workyard"
        assert client.server_info.version == installed_version()
        assert "src/app.py" in (client.instructions or "")
    assert tuple(tools) == tuple(TOOLS)
    read_only = [
        name for name, tool in tools.items() if tool.annotations and tool.annotations.read_only_hint
    ]
    assert read_only == [name for name in TOOLS if name not in WRITING_TOOLS]
    assert all(tool.output_schema is None for tool in tools.values())


async def test_what_a_host_does_through_one_server_is_undone_as_one_session(yard: Yard) -> None:
    for paths in (["theirs"], ["one", "two/three"]):
        async with connected(yard) as client:
            for path in paths:
                await call(client, "write_file", {"path": path, "content": "x"})
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        last, *_ = await workspace.calls(Selection(), 1)
        assert last.caller.session
        await workspace.undo(Selection(session=last.caller.session), Caller(actor="owner"))
    assert sorted(os.listdir(yard.root)) == ["docs", "src", "theirs"]


async def test_a_session_that_a_request_names_is_the_one_on_record(yard: Yard) -> None:
    async with connected(yard) as client:
        meta = cast(types.RequestParamsMeta, {"workyard/session": "theirs"})
        await client.call_tool("make_directory", {"path": "made"}, meta=meta)
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        (made,) = await workspace.calls(Selection(), 1)
        assert made.caller.session == "theirs"


async def test_a_tool_that_is_not_granted_is_neither_offered_nor_done(yard: Yard) -> None:
    grant = Grant(tools=("read_file",), read=("**",), write=("**",))
    async with connected(yard, grant) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["read_file"]
        refused = await call(client, "write_file", {"path": "new.txt", "content": "x"})
        assert refused == (True, "Tool 'write_file' is not granted here; granted: 'read_file'.")
        assert not (yard.root / "new.txt").exists()
        assert await call(client, "nope", {}) == (
            True,
            "There is no tool 'nope'; there is: 'read_file'.",
        )


async def test_an_empty_grant_serves_nothing(yard: Yard) -> None:
    async with connected(yard, Grant()) as client:
        assert (await client.list_tools()).tools == []
        for name in TOOL_NAMES:
            is_error, _ = await call(client, name, {"path": "."})
            assert is_error


async def test_a_server_takes_as_many_calls_as_the_grant_says(yard: Yard) -> None:
    grant = Grant.full().model_copy(update={"limits": Limits(calls=3)})
    async with connected(yard, grant) as client:
        for name, is_wrong in (("list_directory", False), ("nope", True), ("read_file", True)):
            assert (await call(client, name, {}))[0] == is_wrong
        for _ in range(2):
            assert await call(client, "write_file", {"path": "new", "content": "x"}) == (
                True,
                "This server takes 3 calls in all, and they are used up. Finish the work with what "
                "you have, without more calls.",
            )
    assert not (yard.root / "new").exists()


async def test_a_granted_tool_still_asks_for_the_path(yard: Yard) -> None:
    grant = Grant(tools=TOOL_NAMES, read=("docs/**",))
    async with connected(yard, grant) as client:
        for name, arguments in (
            ("read_file", {"path": "src/app.py"}),
            ("write_file", {"path": "docs/guide.md", "content": "x"}),
            ("list_directory", {"path": "src"}),
            ("grep", {"pattern": "main", "path": "src"}),
        ):
            is_error, text = await call(client, name, dict(arguments))
            assert is_error
            assert "may not be" in text
        assert await call(client, "list_directory", {}) == (False, ". · 1 entry\ndocs/")
    assert (yard.root / "docs/guide.md").read_text().startswith("# Guide")


async def test_answers_and_errors_reach_the_caller_word_for_word(yard: Yard) -> None:
    async with connected(yard) as client:
        assert await call(client, "grep", {"pattern": "def main"}) == (
            False,
            "1 match in 1 file\nsrc/app.py:1:def main():",
        )
        assert await call(client, "read_file", {"path": "docs/gide.md"}) == (
            True,
            "File 'docs/gide.md' does not exist; 'docs' holds 'guide.md'.",
        )
        assert await call(client, "read_file", {"pth": "docs/guide.md"}) == (
            True,
            "Tool 'read_file' has no argument 'pth'; did you mean 'path'? "
            "It takes 'path', 'offset', 'limit'.",
        )


async def test_names_and_contents_that_are_not_utf8_do_not_end_the_server(yard: Yard) -> None:
    """The SDK's stdio writer dies of a lone surrogate; the stdio tests see that it lives."""
    raw = os.fsencode(yard.root)
    for file in (b"/caf\xe9.txt", b"/docs/\xff\xfe"):
        Path(os.fsdecode(raw + file)).write_bytes(b"caf\xe9 needle\n")
    yard.link("docs/link", os.fsdecode(b"\xff\xfe"))
    async with connected(yard) as client:
        for name, arguments in (
            ("list_directory", {"depth": 3}),
            ("grep", {"pattern": "needle"}),
            ("read_file", {"path": "caf.txt"}),
        ):
            _, text = await call(client, name, dict(arguments))
            text.encode()
            assert "caf" in text


async def test_no_answer_names_the_place_of_the_root(yard: Yard) -> None:
    yard.link("out", yard.outside / "secret.txt")
    yard.link("in", yard.root / "src/app.py")
    async with connected(yard) as client:
        for path in ("out", "in", "nope", f"{yard.root}/nope", f"{yard.root}/../x", ".git", "src"):
            for name in ("read_file", "write_file", "list_directory", "grep"):
                extra = {"write_file": {"content": "x"}, "grep": {"pattern": "main"}}.get(name, {})
                _, text = await call(client, name, {"path": path, **extra})
                assert str(yard.root) not in text.replace(f"{yard.root}/../x", "")
                assert str(yard.outside) not in text
                assert SECRET not in text


FOR_THE_CALLER = (
    errors.InvalidInputError,
    errors.NotFoundError,
    errors.ConflictError,
    LimitError,
)


async def test_an_edit_error_quotes_the_file_to_the_letter(yard: Yard) -> None:
    yard.write("conf", f"home = {yard.root}/data\n")
    async with connected(yard) as client:
        edit: dict[str, object] = {
            "path": "conf",
            "old_string": f"home={yard.root}/data",
            "new_string": "x",
        }
        is_error, text = await call(client, "edit_file", edit)
        assert is_error
        assert f"home = {yard.root}/data" in text


def leaves(kind: type[ServerError]) -> list[type[ServerError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]


@pytest.mark.parametrize("kind", leaves(ServerError))
async def test_every_error_of_ours_has_its_translation(
    workspace: Workspace, kind: type[ServerError], caplog: pytest.LogCaptureFixture
) -> None:
    error = (
        kind("the message", limit=1, actual=2, unit="x")
        if issubclass(kind, LimitError)
        else kind("the message")
    )
    if issubclass(kind, FOR_THE_CALLER):
        result = translate(error, workspace)
        assert result.is_error
        assert result.content == [types.TextContent(type="text", text="the message")]
        assert caplog.records == []
    else:
        with pytest.raises(MCPError) as raised:
            translate(error, workspace)
        assert raised.value.code == types.INTERNAL_ERROR
        assert ("the message" in raised.value.message) == (kind is UnavailableError)


async def test_only_the_tracing_of_the_sdk_is_dropped(workspace: Workspace) -> None:
    """Whatever else the SDK puts there one day may be there for a reason."""
    (middleware,) = Server("bare").middleware
    assert type(middleware).__name__ == "OpenTelemetryMiddleware"
    assert create_server(workspace).middleware == []


async def test_spans_are_made_where_somebody_collects_them(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    assert len(create_server(workspace).middleware) == 1


async def test_a_bug_is_logged_with_its_traceback_and_generic_outside(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: Workspace, path: str, view: object) -> None:
        raise RuntimeError(f"{SECRET} at {path}")

    monkeypatch.setattr(Workspace, "view_file", broken)
    async with connected(yard) as client:
        with pytest.raises(MCPError) as raised:
            await client.call_tool("read_file", {"path": "src/app.py"})
        assert not (await client.call_tool("list_directory", {})).is_error
    assert raised.value.message == "The server failed; its log has the details."
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info is not None
    assert SECRET in str(record.exc_info[1])


async def test_pictures_and_documents_travel_as_what_they_are(yard: Yard) -> None:
    picture, document = b"GIF89a\x01\0\x01\0\0", b"%PDF-1.7\n"
    yard.write("a.gif", picture)
    yard.write("docs/r\u00e9sum\u00e9 1.pdf", document)
    async with connected(yard) as client:
        result = await client.call_tool("read_file", {"path": "a.gif"})
        text, image = result.content
        assert isinstance(text, types.TextContent)
        assert text.text.startswith("a.gif \u00b7 image/gif \u00b7 1x1 pixels")
        assert isinstance(image, types.ImageContent)
        assert (image.mime_type, b64decode(image.data)) == ("image/gif", picture)
        result = await client.call_tool("read_file", {"path": "docs/r\u00e9sum\u00e9 1.pdf"})
        _, resource = result.content
        assert isinstance(resource, types.EmbeddedResource)
        blob = resource.resource
        assert isinstance(blob, types.BlobResourceContents)
        assert (blob.mime_type, b64decode(blob.blob)) == ("application/pdf", document)
        assert blob.uri == "workspace:///docs/r%C3%A9sum%C3%A9%201.pdf"
