"""Resources: files of the workspace, agents' specs, transcripts of sessions.

A file is read through the same fence as by `read_file`, and only where that tool is granted.
"""

import hashlib
import logging
import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from mimetypes import MimeTypes
from urllib.parse import quote, unquote_to_bytes

import mcp_types as types

from mcp_server.calls import Calls
from mcp_server.errors import (
    InvalidInputError,
    LimitError,
    NotAFileError,
    NotFoundError,
    UnavailableError,
)
from mcp_server.fence.grant import Limits
from mcp_server.fence.reading.file import OtherFile, TextFile
from mcp_server.fence.workspace import Workspace
from mcp_server.ports import TranscriptCard, Transcripts
from mcp_server.prompts import Shelf
from mcp_server.text import byte_size, outgoing, quoted, shown, without_host_paths

FILES = "workspace:///"
AGENTS = "workyard://agents/"
SESSIONS = "workyard://sessions/"
FILE_TEMPLATE, AGENT_TEMPLATE, SESSION_TEMPLATE = (
    f"{FILES}{{+path}}",
    f"{AGENTS}{{name}}",
    f"{SESSIONS}{{id}}",
)

_YAML, _MARKDOWN, _PLAIN = "application/yaml", "text/markdown", "text/plain"
_TEXTUAL = ("application/json", "application/xml", "application/javascript", "application/toml")
_TYPES = MimeTypes(filenames=())
"""By suffix, as Python knows them: the same on every machine."""

logger = logging.getLogger(__name__)

Contents = types.TextResourceContents | types.BlobResourceContents


def file_uri(path: str) -> str:
    """Return the URI of a file of the workspace."""
    return FILES + quote(os.fsencode(path))


@dataclass(frozen=True)
class Resources:
    """The resources of one server."""

    workspace: Workspace
    calls: Calls
    shelf: Shelf | None
    transcripts: Transcripts | None

    @property
    def has_files(self) -> bool:
        """Whether files are among them."""
        return self.workspace.grant.allows_tool("read_file")

    async def list(self) -> Sequence[types.Resource]:
        """Return agents and sessions; files are found by their template."""
        cards = await self.shelf.list() if self.shelf else ()
        sessions = await self._sessions()
        return [
            *(
                types.Resource(
                    uri=AGENTS + card.name,
                    name=f"{card.name}.yaml",
                    title=f"Agent {card.name}",
                    description=outgoing(card.description),
                    mime_type=_YAML,
                )
                for card in cards
            ),
            *(
                types.Resource(
                    uri=SESSIONS + quote(each.id, safe=""),
                    name=outgoing(each.id),
                    title=outgoing(each.title) or None,
                    description=outgoing(f"What {each.agent} did, as a transcript."),
                    mime_type=_MARKDOWN,
                )
                for each in sessions
            ),
        ]

    def templates(self) -> Sequence[types.ResourceTemplate]:
        """Return what the URIs look like."""
        there = {
            FILE_TEMPLATE: self.has_files,
            AGENT_TEMPLATE: self.shelf is not None,
            SESSION_TEMPLATE: self.transcripts is not None,
        }
        return [template for template in _TEMPLATES if there[template.uri_template]]

    async def read(self, uri: str) -> Contents:
        """Return what is at a URI.

        Raises:
            NotFoundError: there is no such resource.
            ServerError: it cannot be read; the message says why.
        """
        if self.has_files and uri.startswith(FILES):
            self.calls.count()
            return await self._file(uri)
        if self.shelf and uri.startswith(AGENTS):
            card = await self.shelf.get(_rest(uri, AGENTS))
            return _text(uri, card.source, _YAML)
        if self.transcripts and uri.startswith(SESSIONS):
            text = await self.transcripts.read(_rest(uri, SESSIONS))
            roots = self.workspace.root_names
            return _text(uri, without_host_paths(text, roots), _MARKDOWN)
        raise self._unknown(uri)

    async def version(self, uri: str) -> str:
        """Return what is another text when the resource has changed.

        Raises:
            NotFoundError: there is no such resource.
            InvalidInputError: it is a file: those are not watched.
        """
        if self.has_files and uri.startswith(FILES):
            raise InvalidInputError(
                f"{quoted(uri)} is a file, and files are not watched here: read it again when you "
                "need it. Agents and sessions can be subscribed to."
            )
        if self.transcripts and uri.startswith(SESSIONS):
            return await self.transcripts.version(_rest(uri, SESSIONS))
        if self.shelf and uri.startswith(AGENTS):
            card = await self.shelf.get(_rest(uri, AGENTS))
            return hashlib.sha256(outgoing(card.source).encode()).hexdigest()
        raise self._unknown(uri)

    async def _sessions(self) -> Sequence[TranscriptCard]:
        try:
            return await self.transcripts.list() if self.transcripts else ()
        except UnavailableError as error:
            # A record that cannot be opened hides nothing else; who asks for a session is told.
            logger.error("sessions are left out: %s", error)
            return ()

    async def _file(self, uri: str) -> Contents:
        limits = self.workspace.grant.limits

        def view(file: TextFile | OtherFile) -> Contents:
            if isinstance(file, TextFile):
                return _text(uri, _within(file, limits), _mime(file.path))
            return _blob(uri, file, limits)

        return await self.workspace.view_file(_path(uri), view)

    def _unknown(self, uri: str) -> NotFoundError:
        known = " or ".join(template.uri_template for template in self.templates())
        hint = f"a resource is {known}." if known else "there are none here."
        return NotFoundError(f"There is no resource {quoted(uri)}; {hint}")


def _rest(uri: str, start: str) -> str:
    return os.fsdecode(unquote_to_bytes(uri.removeprefix(start)))


def _path(uri: str) -> str:
    # A byte that is no UTF-8 is written as tools write it.
    return outgoing(_rest(uri, FILES)) or "."


def _text(uri: str, text: str, mime: str) -> Contents:
    return types.TextResourceContents(uri=uri, text=outgoing(text), mime_type=mime)


def _within(file: TextFile, limits: Limits) -> str:
    size = byte_size(file.text)
    if size > limits.read_bytes:
        raise LimitError(
            f"File {shown(file.path)} has {size} bytes; as a resource at most {limits.read_bytes} "
            "are sent. Read it page by page with read_file.",
            limit=limits.read_bytes,
            actual=size,
            unit="bytes",
        )
    return file.text


def _blob(uri: str, file: OtherFile, limits: Limits) -> Contents:
    if file.media is None:
        raise NotAFileError(
            f"File {shown(file.path)} is not text ({file.kind}). Only text, pictures and PDF are "
            "resources."
        )
    if file.content is None:
        raise LimitError(
            f"File {shown(file.path)} has {file.size} bytes; of a picture or PDF at most "
            f"{limits.media_bytes} are sent.",
            limit=limits.media_bytes,
            actual=file.size,
            unit="bytes",
        )
    encoded = b64encode(file.content).decode()
    return types.BlobResourceContents(uri=uri, blob=encoded, mime_type=file.media.mime)


def _mime(path: str) -> str:
    guess, _ = _TYPES.guess_type(path, strict=False)
    if path.endswith((".yaml", ".yml")):
        return _YAML
    if path.endswith(".md"):
        return _MARKDOWN
    # By its content it is text: a suffix that says otherwise, as `.ts` for video, is wrong.
    return guess if guess and (guess.startswith("text/") or guess in _TEXTUAL) else _PLAIN


_TEMPLATES = (
    types.ResourceTemplate(
        uri_template=FILE_TEMPLATE,
        name="file",
        title="File",
        description="A file of the workspace, by its path relative to the root.",
    ),
    types.ResourceTemplate(
        uri_template=AGENT_TEMPLATE,
        name="agent",
        title="Agent",
        description="An agent's spec.",
        mime_type=_YAML,
    ),
    types.ResourceTemplate(
        uri_template=SESSION_TEMPLATE,
        name="session",
        title="Session",
        description="What agents did in a session, as a transcript; it can be subscribed to.",
        mime_type=_MARKDOWN,
    ),
)
