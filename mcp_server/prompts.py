"""Agents as prompts: the host's own model takes an agent's role, or has it run for real.

There is one prompt for each agent, with its inputs as arguments, and `run_agent` for any of them.
What a prompt says is kept by the model's good will alone; what the server's own grant says is kept
by the server. Only a run for real is held to the agent's grant
(docs/decisions/0017-prompts-and-resources.md).
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.to_thread
import mcp_types as types
from pydantic import JsonValue

from mcp_server.errors import InvalidInputError, NotFoundError
from mcp_server.ports import AgentCard, AgentCatalog, AgentInput
from mcp_server.text import outgoing, quoted

RUN_AGENT = "run_agent"
"""The prompt for any agent, and the tool that has one run."""

HERE, RUN = "here", "run"
"""Who does the work: the model of the conversation, or the agent itself."""

_TASK = AgentInput(name="task", description="What the agent is to do.", is_required=True)
_AGENT = AgentInput(name="agent", description="Which agent.", is_required=True)
_HOW = AgentInput(
    name="how",
    description="'here': this conversation's model takes the role, with this server's tools. "
    "'run': the agent runs by itself, on the model that it is configured for.",
    default=HERE,
    choices=(HERE, RUN),
)
_READERS = 2
_MAX_COMPARED_CHARS = 100


@dataclass(frozen=True)
class Shelf:
    """The catalogue, asked in threads of its own so that nobody waits for a disk."""

    catalog: AgentCatalog
    limiter: anyio.CapacityLimiter

    @classmethod
    def of(cls, catalog: AgentCatalog) -> "Shelf":
        """Return the shelf of a catalogue."""
        return cls(catalog, anyio.CapacityLimiter(_READERS))

    async def list(self) -> Sequence[AgentCard]:
        """Return the agents that can be used."""
        return await anyio.to_thread.run_sync(self.catalog.list, limiter=self.limiter)

    async def get(self, name: str) -> AgentCard:
        """Return an agent; raises what `AgentCatalog.get` does."""
        return await anyio.to_thread.run_sync(partial(self.catalog.get, name), limiter=self.limiter)

    async def version(self) -> str:
        """Return what changes when a spec does."""
        return await anyio.to_thread.run_sync(self.catalog.version, limiter=self.limiter)


@dataclass(frozen=True)
class Prompts:
    """The prompts of one server."""

    shelf: Shelf
    tools: tuple[str, ...]
    """The file tools that the server offers."""
    can_run: bool
    """Whether it has the tool `run_agent`."""

    async def list(self) -> Sequence[types.Prompt]:
        """Return `run_agent`, and one prompt for each agent."""
        any_agent = types.Prompt(
            name=RUN_AGENT,
            title="Run an agent",
            description="Give a task to an agent of this workspace.",
            arguments=[_described(each) for each in self._arguments(None)],
        )
        cards = await self.shelf.list()
        return [any_agent, *(self._prompt(card) for card in cards if card.name != RUN_AGENT)]

    async def get(self, name: str, given: Mapping[str, str]) -> types.GetPromptResult:
        """Return the messages of a prompt.

        Raises:
            NotFoundError: there is no such prompt, or no such agent.
            InvalidInputError: an argument is missing, unknown or wrong.
        """
        # A dialogue sends what its user has left empty as such.
        said = {key: value for key, value in given.items() if value.strip()}
        card = None if name == RUN_AGENT else await self._agent(name)
        known = self._arguments(card)
        _check(name, known, said, given)
        if card is None:
            card = await self._named(said["agent"])
        inputs = {each.name: said[each.name] for each in card.inputs if each.name in said}
        checked = card.checked(inputs)
        if self._how(known, said) == RUN:
            text = _to_run(card, said["task"], {key: checked[key] for key in inputs})
        else:
            text = self._to_be(card, said["task"], card.render(checked))
        content = types.TextContent(type="text", text=outgoing(text))
        return types.GetPromptResult(
            description=outgoing(card.description),
            messages=[types.PromptMessage(role="user", content=content)],
        )

    async def arguments(self, name: str) -> Sequence[AgentInput]:
        """Return what a prompt takes; raises as `get` does when there is no such prompt."""
        return self._arguments(None if name == RUN_AGENT else await self._agent(name))

    async def _agent(self, name: str) -> AgentCard:
        try:
            return await self.shelf.get(name)
        except NotFoundError:
            names = [RUN_AGENT, *(card.name for card in await self.shelf.list())]
            raise NotFoundError(f"There is no prompt {_near(name, names)}") from None

    async def _named(self, name: str) -> AgentCard:
        card = await self.shelf.get(name)
        needed = next((each.name for each in card.inputs if _must_be_said(each)), None)
        if needed is not None:
            raise InvalidInputError(
                f"Agent {name!r} also needs {needed!r}, for which the prompt {RUN_AGENT!r} has no "
                f"argument. Use the prompt {name!r}, which asks for it."
            )
        return card

    def _arguments(self, card: AgentCard | None) -> Sequence[AgentInput]:
        """Return what is asked for.

        An agent's input `task` is the task itself. One that is called `how` takes the choice away.
        """
        inputs = [_AGENT] if card is None else [i for i in card.inputs if i.name != _TASK.name]
        can_choose = self.can_run and _HOW.name not in (each.name for each in inputs)
        return [*inputs, _TASK, *([_HOW] if can_choose else [])]

    def _how(self, known: Sequence[AgentInput], said: Mapping[str, str]) -> str:
        if _HOW not in known:
            return HERE
        how = said.get("how", HERE)
        if how not in _HOW.choices:
            raise InvalidInputError(f"Argument 'how' is {quoted(how)}; it is 'here' or 'run'.")
        return how

    def _prompt(self, card: AgentCard) -> types.Prompt:
        return types.Prompt(
            name=card.name,
            title=card.name.replace("_", " ").capitalize(),
            description=outgoing(card.description),
            arguments=[_described(each) for each in self._arguments(card)],
        )

    def _to_be(self, card: AgentCard, task: str, instructions: str) -> str:
        usable = [tool for tool in card.grant.tools if tool in self.tools]
        missing = [tool for tool in card.grant.tools if tool not in self.tools]
        rules = [
            f"- Use these tools of the server 'workyard', and no others: {', '.join(usable)}."
            if usable
            else "- Use no tools.",
            _rule("Read", card.grant.read if usable else ()),
            _rule("Create, change or delete", card.grant.write if usable else ()),
            *(
                [f"- The role has other tools, which are not here: {', '.join(missing)}."]
                if missing
                else []
            ),
            "- What these rules leave out, do not do in another way. If the task needs it, say so.",
        ]
        return "\n".join(
            (
                f"Take the role of the agent {card.name!r} and do the task below yourself, by the "
                "instructions below.",
                "",
                "While you are in this role:",
                *rules,
                "",
                "<instructions>",
                instructions.rstrip("\n"),
                "</instructions>",
                "",
                "<task>",
                task,
                "</task>",
            )
        )


def _to_run(card: AgentCard, task: str, inputs: Mapping[str, JsonValue]) -> str:
    call = {"agent": card.name, "task": task, **({"inputs": inputs} if inputs else {})}
    arguments = json.dumps(call, ensure_ascii=False, indent=2)
    return "\n".join(
        (
            f"Have the agent {card.name!r} do a task: call the tool {RUN_AGENT!r} of the server "
            "'workyard' once, with exactly these arguments.",
            "",
            arguments,
            "",
            "If the run goes on longer than the call, wait for it with 'get_run'. Then show me its "
            "answer as it is, and which files it has changed. Do not do its work yourself.",
        )
    )


def _rule(what: str, globs: Sequence[str]) -> str:
    if not globs:
        return f"- {what} nothing."
    if "**" in globs:
        return f"- {what} any file that the tools let you."
    return f"- {what} only what one of these globs matches: {', '.join(map(repr, globs))}."


def _described(each: AgentInput) -> types.PromptArgument:
    said = [each.description.strip()] if each.description.strip() else []
    if each.choices and each is not _HOW:
        said.append(f"One of: {', '.join(each.choices)}.")
    if each.default is not None:
        said.append(f"Default: {each.default}")
    return types.PromptArgument(
        name=outgoing(each.name),
        description=outgoing(" ".join(said)) or None,
        required=_must_be_said(each),
    )


def _must_be_said(each: AgentInput) -> bool:
    return each.is_required and each.default is None


def _check(
    prompt: str, known: Sequence[AgentInput], said: Mapping[str, str], given: Mapping[str, str]
) -> None:
    names = [each.name for each in known]
    for name in given:
        if name not in names:
            near = _near(name, names)
            raise InvalidInputError(f"Prompt {prompt!r} has no argument {near}")
    for each in known:
        if _must_be_said(each) and each.name not in said:
            about = f": {each.description}" if each.description else "."
            raise InvalidInputError(f"Prompt {prompt!r} needs the argument {each.name!r}{about}")


def _near(name: str, names: Sequence[str]) -> str:
    """Return a wrong name, and which ones are right."""
    near = difflib.get_close_matches(name[:_MAX_COMPARED_CHARS], names, n=3)
    if near:
        return f"{quoted(name)}; did you mean {' or '.join(map(repr, near))}?"
    return f"{quoted(name)}; there is: {', '.join(map(repr, names))}."
