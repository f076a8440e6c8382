"""Files as resources: what `read_file` may read, and nothing else, as what it is."""

from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import mcp_types as types
import pytest
from mcp import Client, MCPError

from mcp_server.fence.grant import TOOL_NAMES, Grant, Limits
from mcp_server.fence.workspace import Workspace
from mcp_server.resources import file_uri
from mcp_server.server import create_server
from tests.mcp_server.conftest import SECRET, Yard

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x03"
Era = Literal["auto", "legacy"]


@asynccontextmanager
async def connected(
    yard: Yard, grant: Grant | None = None, era: Era = "auto"
) -> AsyncIterator[Client]:
    async with (
        Workspace.open(yard.root, grant or Grant.full()) as workspace,
        Client(create_server(workspace), mode=era) as client,
    ):
        yield client


async def text(client: Client, uri: str) -> tuple[str | None, str]:
    (found,) = (await client.read_resource(uri)).contents
    assert isinstance(found, types.TextResourceContents)
    assert found.uri == uri
    return found.mime_type, found.text


async def refusal(client: Client, uri: str) -> MCPError:
    with pytest.raises(MCPError) as caught:
        await client.read_resource(uri)
    assert caught.value.data == {"uri": uri}
    return caught.value


async def test_server_of_files_alone_has_their_template_and_no_prompts(yard: Yard) -> None:
    async with connected(yard) as client:
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "workspace:///{+path}"
        assert (await client.list_resources()).resources == []
        assert client.server_capabilities.prompts is None


@pytest.mark.parametrize(
    ("path", "content", "mime", "shown"),
    [
        ("docs/a b.md", "# é\r\n", "text/markdown", "# é\r\n"),
        ("app.py", "x = 1\n", "text/x-python", "x = 1\n"),
        ("app.ts", "let x\n", "text/plain", "let x\n"),
        ("a.json", "{}", "application/json", "{}"),
        ("ci.yml", "a: 1", "application/yaml", "a: 1"),
        ("fake.png", "text", "text/plain", "text"),
        ("latin", b"caf\xe9", "text/plain", "caf\\xe9"),
        ("100%?#.txt", "odd", "text/plain", "odd"),
        ("caf\udce9.txt", "odd", "text/plain", "odd"),
    ],
)
async def test_text_comes_whole_with_its_type(
    yard: Yard, path: str, content: str | bytes, mime: str, shown: str
) -> None:
    yard.write(path, content)
    async with connected(yard) as client:
        assert await text(client, file_uri(path)) == (mime, shown)


async def test_picture_comes_as_the_bytes_that_it_is(yard: Yard) -> None:
    yard.write("a.png", PNG)
    async with connected(yard) as client:
        (found,) = (await client.read_resource("workspace:///a.png")).contents
    assert isinstance(found, types.BlobResourceContents)
    assert (found.mime_type, b64decode(found.blob)) == ("image/png", PNG)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("../outside/secret.txt", "leads out of the workspace"),
        ("%2e%2e/outside/secret.txt", "leads out of the workspace"),
        ("/etc/passwd", "leads out of the workspace"),
        ("leak", "leads out of the workspace"),
        (".env", "is out of reach"),
        ("src", "is a directory"),
        ("", "is a directory"),
        ("a.bin", "is not text (Windows program or library)"),
        ("a%00b", "NUL"),
    ],
)
async def test_fence_stands_before_resources_too(yard: Yard, rest: str, message: str) -> None:
    yard.write(".env", "KEY=1")
    yard.write("a.bin", b"MZ\0\0")
    yard.link("leak", yard.outside / "secret.txt")
    async with connected(yard) as client:
        error = await refusal(client, f"workspace:///{rest}")
    assert error.code == types.INVALID_PARAMS
    assert message in error.message
    assert SECRET not in error.message
    assert str(yard.outside) not in error.message


@pytest.mark.parametrize(("era", "code"), [("auto", -32602), ("legacy", -32002)])
async def test_what_is_not_there_has_the_code_of_its_era(yard: Yard, era: Era, code: int) -> None:
    async with connected(yard, era=era) as client:
        missing = await refusal(client, "workspace:///docs/gide.md")
        unknown = await refusal(client, "workyard://agents/any")
    assert (missing.code, unknown.code) == (code, code)
    assert "docs holds 'guide.md'" in missing.message.replace("'docs'", "docs")
    assert "a resource is workspace:///{+path}." in unknown.message


async def test_grant_and_limits_hold_for_resources(yard: Yard) -> None:
    limits = Limits(read_bytes=30, media_bytes=10)
    yard.write("docs/long.txt", "x" * 31)
    yard.write("docs/a.png", PNG)
    grant = Grant(tools=TOOL_NAMES, read=("docs/**",), limits=limits)
    async with connected(yard, grant) as client:
        assert (await text(client, "workspace:///docs/guide.md"))[1].startswith("# Guide")
        hidden = await refusal(client, "workspace:///src/app.py")
        long = await refusal(client, "workspace:///docs/long.txt")
        large = await refusal(client, "workspace:///docs/a.png")
    assert "may not be read here" in hidden.message
    assert "has 31 bytes; as a resource at most 30 are sent" in long.message
    assert "at most 10 are sent" in large.message


async def test_without_the_tool_that_reads_no_file_is_a_resource(yard: Yard) -> None:
    async with connected(yard, Grant(tools=("grep",), read=("**",))) as client:
        assert client.server_capabilities.resources is None
        with pytest.raises(MCPError, match="Method not found"):
            await client.read_resource("workspace:///docs/guide.md")


async def test_resources_count_as_calls(yard: Yard) -> None:
    grant = Grant.full().model_copy(update={"limits": Limits(calls=2)})
    async with connected(yard, grant) as client:
        await client.read_resource("workspace:///docs/guide.md")
        await client.call_tool("read_file", {"path": "docs/guide.md"})
        error = await refusal(client, "workspace:///docs/guide.md")
    assert "takes 2 calls in all" in error.message
