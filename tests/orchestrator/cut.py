"""A wire to PostgreSQL that can be cut, at the moment at which nobody knows what has happened."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

SOCKET = ".s.PGSQL.5432"
Moment = Literal["before", "after"]


@dataclass
class Wire:
    """Carries what both sides say, and can cut a connection when it is to commit."""

    server: Path
    cut_next: Moment | None = None
    """Before the server is told to commit, or after it has committed and before it can say so."""
    cuts: list[Moment] = field(default_factory=list)
    silent: bool = False
    """Drops what is said, and closes nothing: nobody is told."""

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until one side closes it, or it is cut."""
        server_reader, server_writer = await asyncio.open_unix_connection(self.server / SOCKET)
        answers = asyncio.create_task(self._answer(server_reader, writer))
        while data := await reader.read(65536):
            if self.cut_next is not None and b"COMMIT" in data:
                moment, self.cut_next = self.cut_next, None
                answers.cancel()
                await asyncio.wait({answers})
                if moment == "after":
                    server_writer.write(data)
                    await server_reader.read(65536)
                self.cuts.append(moment)
                break
            if not self.silent:
                server_writer.write(data)
        answers.cancel()
        server_writer.close()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not self.silent:
                writer.write(data)
        writer.close()


@asynccontextmanager
async def wire_to(server: Path) -> AsyncGenerator[tuple[Wire, str]]:
    """Lay a wire to the server whose socket is in a directory; yield it, and its own directory."""
    wire = Wire(server)
    with TemporaryDirectory(prefix="workyard-wire-", dir="/tmp") as directory:
        listening = await asyncio.start_unix_server(wire.carry, Path(directory) / SOCKET)
        try:
            yield wire, directory
        finally:
            listening.close()
