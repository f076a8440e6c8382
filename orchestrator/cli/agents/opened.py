"""The catalogue, as commands open it that run no agent."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import anyio
import typer

import orchestrator
from orchestrator.catalogue import Catalogue, load_agent_file, open_catalogue
from orchestrator.cli.exits import reported
from orchestrator.errors import NotFoundError
from orchestrator.session import LOCAL_OWNER
from orchestrator.settings import load_settings
from orchestrator.specs import Spec

T = TypeVar("T")

OwnerOption = Annotated[str, typer.Option("--owner", help="Whose definitions are meant.")]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A definition; 'owner/name' if another shares it.")
]
NoteOption = Annotated[str, typer.Option("--note", help="Why; it stays with the version.")]


@asynccontextmanager
async def opened_definitions(
    owner: str = LOCAL_OWNER, specs: Path | None = None
) -> AsyncGenerator["orchestrator.Definitions"]:
    """Open the record for the definitions of an owner: who may read its database may edit them."""
    settings = load_settings()
    files = open_catalogue(settings, specs)
    async with orchestrator.open_definitions(settings.effective_database_url, files) as found:
        yield found.of(owner)


def with_definitions(
    owner: str,
    work: Callable[["orchestrator.Definitions"], Awaitable[T]],
    specs: Path | None = None,
) -> T:
    """Return what `work` does with the definitions of an owner; what goes wrong is reported."""

    async def done() -> T:
        async with opened_definitions(owner, specs) as definitions:
            return await work(definitions)

    with reported():
        return anyio.run(done)


@dataclass
class Lookup:
    """Agents by name, for who only looks: the record is opened for the first that is no file."""

    files: Catalogue
    owner: str
    specs: Path | None
    _stack: AsyncExitStack
    _opened: "orchestrator.Definitions | None" = None

    async def get(self, name: str, version: int | None = None) -> Spec:
        """Return the spec of an agent, or of a version of a definition.

        Raises:
            NotFoundError: There is none; the near ones are named.
            SpecError: It cannot be used.
            OrchestratorError: The record cannot be opened.
        """
        file = None if version is not None or "/" in name else self.files.find(name)
        if file is not None:
            return load_agent_file(file)
        definitions = await self.definitions()
        if definitions is None:
            raise NotFoundError("agent", name, known=self.files.names())
        if version is not None:
            return await definitions.get(name, version=version)
        return await definitions.agent(name)

    async def definitions(self) -> "orchestrator.Definitions | None":
        """Return what is on record; None where there is no record, which looking does not make."""
        if self._opened is None and load_settings().may_have_record:
            opened = opened_definitions(self.owner, self.specs)
            self._opened = await self._stack.enter_async_context(opened)
        return self._opened


@asynccontextmanager
async def looking(owner: str, specs: Path | None) -> AsyncGenerator[Lookup]:
    """Let agents be looked for.

    Raises:
        OrchestratorError: The directories of specs cannot be looked into.
    """
    files = open_catalogue(load_settings(), specs)
    async with AsyncExitStack() as stack:
        yield Lookup(files, owner, specs, stack)
