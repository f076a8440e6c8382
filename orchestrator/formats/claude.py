"""Agents of Claude Code: `.claude/agents/NAME.md`.

Source: https://code.claude.com/docs/en/sub-agents ("Supported frontmatter fields").
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue

from orchestrator.formats.converted import READING, Conversion
from orchestrator.formats.front_matter import names_in, split, written
from orchestrator.formats.leaving import Leaving
from orchestrator.specs import Spec

_TOOLS = {
    "Read": "read_file",
    "Grep": "grep",
    "Glob": "find_files",
    "LS": "list_directory",
    "Write": "write_file",
    "Edit": "edit_file",
    "MultiEdit": "apply_edits",
}
_BACK = {ours: theirs for theirs, ours in _TOOLS.items()} | {"apply_edits": "Edit"}
_LOST = {
    "permissionMode": "Approvals in a spec says which calls need a person's yes",
    "skills": "a spec has no skills",
    "mcpServers": "McpServer names a server that is registered in servers.toml",
    "hooks": "a spec runs no commands",
    "memory": "SessionState keeps values for a session",
    "background": "whoever starts a run decides whether to wait",
    "isolation": "'workyard undo' takes changes back",
    "initialPrompt": "whoever starts a run says what is to be done",
}
_KNOWN = (
    *("name", "description", "tools", "disallowedTools", "model", "maxTurns", "color", "effort"),
    *_LOST,
)
_EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")
_AGENTS = re.compile(r"(?:Agent|Task)(?:\((.*)\))?")


def read_claude(text: str, file: Path) -> Conversion:
    """Return what an agent of Claude Code is as a spec. Without `tools` it has none.

    Raises:
        SpecError: If it has a key that there is not, or lacks one that it needs.
    """
    head, body, into = split(text, file)
    into.refuse_unknown(head, _KNOWN)
    into.values["name"] = into.name(into.text(head, "name"))
    into.values["description"] = into.text(head, "description")
    into.values["instructions"] = into.instructions(body, ("instructions",))
    _model(head.get("model"), into)
    if "color" in head:
        into.values["metadata"] = {"color": head["color"]}
    if "tools" not in head:
        into.note(("tools",), "none are named, so it has none; Claude Code would give it all.")
    _tools(head, into)
    if "maxTurns" in head:
        into.add_capability("Budget", {"requests": head["maxTurns"]})
    if head.get("effort") in _EFFORTS:
        into.add_capability("Thinking", {"effort": head["effort"]})
    elif "effort" in head:
        into.note(("effort",), f"{head['effort']!r} is none of {', '.join(_EFFORTS)}; left out.")
    for key, instead in _LOST.items():
        if key in head:
            into.note((key,), f"it is left out: {instead}.")
    return into


def _model(given: JsonValue, into: Conversion) -> None:
    if given in (None, "inherit"):
        return
    if isinstance(given, str) and given.startswith("claude-"):
        into.values["model"] = f"anthropic:{given}"
    else:
        problem = f"{given!r} is a name of Claude Code alone; it is left out. Name provider:model."
        into.note(("model",), problem)


def _tools(head: dict[str, JsonValue], into: Conversion) -> None:
    denied = set(names_in(head.get("disallowedTools"), "disallowedTools", into))
    plans = head.get("permissionMode") == "plan"
    ours: list[str] = []
    for name in names_in(head.get("tools"), "tools", into):
        agents = _AGENTS.fullmatch(name)
        if name in denied:
            into.note(("tools",), f"{name!r} is in disallowedTools too; it is left out.")
        elif agents is not None:
            _delegates(agents[1], into)
        elif name not in _TOOLS:
            into.note(("tools",), f"there is no {name!r} here; it is left out.")
        elif plans and _TOOLS[name] not in READING:
            into.note(("tools",), f"{name!r} is left out: permissionMode is 'plan'.")
        else:
            ours.append(_TOOLS[name])
    into.give_hands(ours, ("tools",))


def _delegates(names: str | None, into: Conversion) -> None:
    if not names:
        into.note(("tools",), "a spec names each agent that may be asked; 'Agent' is left out.")
        return
    agents: list[JsonValue] = [into.name(name.strip(), ("tools",)) for name in names.split(",")]
    into.add_capability("SubAgents", {"agents": agents})


def write_claude(spec: Spec) -> tuple[str, list[str]]:
    """Return a spec as an agent of Claude Code, and what it cannot say there."""
    leaving = Leaving(spec)
    head: dict[str, JsonValue] = {
        "name": spec.name.replace("_", "-"),
        "description": spec.document.description,
        # Left out, it would have all tools that there are.
        "tools": ", ".join(dict.fromkeys([*leaving.tools_as(_BACK), *_asked(leaving)])) or [],
    }
    model = spec.document.model or ""
    if model.startswith("anthropic:"):
        head["model"] = model.removeprefix("anthropic:")
    elif model:
        leaving.note("model", f"{model!r} is not one of Claude Code; it takes that of its session.")
    requests = leaving.arguments("Budget").get("requests")
    if requests is not None:
        head["maxTurns"] = requests
    return written(head, leaving.instructions()), leaving.all_notes(budget=("requests",))


def _asked(leaving: Leaving) -> Iterator[str]:
    names = leaving.delegates()
    if names:
        yield f"Agent({', '.join(name.replace('_', '-') for name in names)})"
