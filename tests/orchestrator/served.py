"""A server that offers agents, with a client at its other end, in either era."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import anyio
import pytest
from mcp import Client, MCPError
from mcp.client.session import MessageHandlerFnT
from mcp_types import Completion, PromptReference, ResourceTemplateReference, TextContent

from mcp_server.fence.grant import Grant
from mcp_server.fence.workspace import Workspace
from mcp_server.ports import Offers, Operator
from mcp_server.server import create_server
from orchestrator.adapter import SpecCatalog
from orchestrator.catalogue import Catalogue
from orchestrator.late import Late, LateRunner

Era = Literal["auto", "legacy"]
ERAS: tuple[Era, ...] = ("auto", "legacy")

EDITOR = """
name: editor
description: Edits one chapter.
instructions: |
  Edit {{chapter_path}} in a {{tone}} tone. <b>&
deps_schema:
  type: object
  properties:
    chapter_path: {type: string, description: The chapter.}
    tone: {type: string, description: How it sounds., enum: [dry, warm, wry], default: dry}
    strict: {type: boolean, default: false}
  required: [chapter_path]
  additionalProperties: false
capabilities:
  - WorkspaceTools: {tools: [read_file, edit_file], read: ["**"], write: ["book/*.md"]}
"""
IDLER = "name: idler\ndescription: Does nothing.\ninstructions: Rest.\n"


def runner() -> LateRunner:
    """Return one that never runs: a prompt only needs to know that there is one."""
    return LateRunner(Late(Operator(root="/", grant=Grant())))


@dataclass(frozen=True)
class Desk:
    """A root, specs beside it, and a client of the server that serves both."""

    client: Client
    root: Path
    specs: Path

    def write(self, name: str, text: str) -> None:
        """Write a spec as editors do: the file is there whole or not at all."""
        (self.specs / f"{name}.new").write_text(text)
        (self.specs / f"{name}.new").rename(self.specs / f"{name}.yaml")

    async def prompt(self, name: str, **arguments: str) -> str:
        """Return the text that a prompt renders to."""
        (message,) = (await self.client.get_prompt(name, arguments)).messages
        assert message.role == "user"
        assert isinstance(message.content, TextContent)
        return message.content.text

    async def complete(self, prompt: str, argument: str, typed: str) -> list[str]:
        """Return what is offered for an argument of a prompt."""
        ref = PromptReference(type="ref/prompt", name=prompt)
        found = await self.client.complete(ref, {"name": argument, "value": typed})
        return found.completion.values

    async def completion(self, typed: str) -> Completion:
        """Return what is offered for the path of a file resource, and how much there is."""
        ref = ResourceTemplateReference(type="ref/resource", uri="workspace:///{+path}")
        found = await self.client.complete(ref, {"name": "path", "value": typed})
        return found.completion

    async def paths(self, typed: str) -> list[str]:
        """Return what is offered for the path of a file resource."""
        return (await self.completion(typed)).values


@asynccontextmanager
async def desk(
    place: Path,
    era: Era = "auto",
    *,
    grant: Grant | None = None,
    offers: Offers = Offers(),  # noqa: B008 - frozen
    hear: MessageHandlerFnT | None = None,
) -> AsyncIterator[Desk]:
    """Serve a root with two agents beside it, and what else is offered."""
    root, specs = place / "root", place / "specs"
    (root / "book").mkdir(parents=True)
    (root / "book" / "one.md").write_text("# One\n")
    (root / ".env").write_text("KEY=secret\n")
    specs.mkdir()
    (specs / "editor.yaml").write_text(EDITOR)
    (specs / "idler.yaml").write_text(IDLER)
    offers = replace(offers, catalog=SpecCatalog(Catalogue((specs,))))
    with anyio.fail_after(30):
        async with (
            Workspace.open(root, grant or Grant.full()) as workspace,
            Client(create_server(workspace, offers), mode=era, message_handler=hear) as client,
        ):
            yield Desk(client, root, specs)


async def refused(request: Awaitable[object]) -> MCPError:
    """Return the error that a request is answered with."""
    with pytest.raises(MCPError) as caught:
        await request
    return caught.value
