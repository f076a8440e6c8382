"""Completions: names of agents, values of inputs, paths of the workspace."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import mcp_types as types

from mcp_server.calls import Calls
from mcp_server.errors import InvalidInputError, NotFoundError, ServerError
from mcp_server.fence.reading.listing import EntryKind
from mcp_server.fence.workspace import Workspace
from mcp_server.ports import AgentInput
from mcp_server.prompts import RUN_AGENT, Prompts
from mcp_server.resources import AGENT_TEMPLATE, FILE_TEMPLATE, SESSION_TEMPLATE, Resources
from mcp_server.text import outgoing, printable_name, quoted

MAX_VALUES = 100
"""Source: the specification of MCP, "Completion": at most 100 values."""


@dataclass(frozen=True)
class Completions:
    """What an argument can be, from what has been typed of it."""

    workspace: Workspace
    calls: Calls
    prompts: Prompts | None
    resources: Resources

    async def complete(
        self, ref: types.PromptReference | types.ResourceTemplateReference, name: str, typed: str
    ) -> types.Completion:
        """Return the values that begin with what was typed.

        Raises:
            NotFoundError: there is no such prompt, or no such template.
            InvalidInputError: it has no such argument.
        """
        if isinstance(ref, types.PromptReference):
            return await self._of_prompt(ref.name, name, typed)
        return await self._of_template(ref.uri, name, typed)

    async def _of_prompt(self, prompt: str, name: str, typed: str) -> types.Completion:
        if self.prompts is None:
            raise NotFoundError(f"There is no prompt {quoted(prompt)}; there are none here.")
        known = await self.prompts.arguments(prompt)
        asked = next((each for each in known if each.name == name), None)
        if asked is None:
            names = ", ".join(repr(each.name) for each in known)
            raise InvalidInputError(
                f"Prompt {prompt!r} has no argument {quoted(name)}; it takes {names}."
            )
        if prompt == RUN_AGENT and name == "agent":
            return _beginning(typed, [card.name for card in await self.prompts.shelf.list()])
        return await self._of_input(asked, typed)

    async def _of_input(self, asked: AgentInput, typed: str) -> types.Completion:
        if asked.is_path:
            return await self._paths(typed)
        # What it is by default is a value too, and the only one known of an input that is open.
        values = asked.choices or ((asked.default,) if asked.default is not None else ())
        return _beginning(typed, values)

    async def _of_template(self, uri: str, name: str, typed: str) -> types.Completion:
        known = [template.uri_template for template in self.resources.templates()]
        if uri not in known:
            there = ", ".join(known) or "none"
            raise NotFoundError(f"There is no template {quoted(uri)}; there is: {there}.")
        match uri, name:
            case (template, "path") if template == FILE_TEMPLATE:
                return await self._paths(typed)
            case (template, "name") if template == AGENT_TEMPLATE and self.resources.shelf:
                return _beginning(typed, [card.name for card in await self.resources.shelf.list()])
            case (template, "id") if template == SESSION_TEMPLATE and self.resources.transcripts:
                sessions = await self.resources.transcripts.list()
                return _beginning(typed, [each.id for each in sessions])
            case _:
                raise InvalidInputError(f"Template {uri!r} has no variable {quoted(name)}.")

    async def _paths(self, typed: str) -> types.Completion:
        """Return the entries of the directory that was typed so far, as far as it may be listed."""
        if not self.workspace.grant.allows_tool("list_directory"):
            return types.Completion(values=[])
        self.calls.count()
        directory, slash, _ = typed.rpartition("/")
        try:
            listing = await self.workspace.list_directory(directory or slash or ".")
        except ServerError:
            # Of what is not there, or out of reach, nothing is known: nothing is said either.
            return types.Completion(values=[])
        start = directory + slash
        values = [
            start + printable_name(each.path.rpartition("/")[2]) + "/" * (each.kind is _DIRECTORY)
            for each in listing.entries
        ]
        return _beginning(typed, values, is_whole=not listing.left_out)


_DIRECTORY = EntryKind.DIRECTORY


def _beginning(typed: str, values: Iterable[str], *, is_whole: bool = True) -> types.Completion:
    """Return the values that begin with what was typed, whatever the case of its letters."""
    start = typed.casefold()
    fitting: Sequence[str] = [
        outgoing(each) for each in values if each.casefold().startswith(start)
    ]
    return types.Completion(
        values=list(fitting[:MAX_VALUES]),
        total=len(fitting) if is_whole else None,
        has_more=len(fitting) > MAX_VALUES or not is_whole,
    )
