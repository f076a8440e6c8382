"""Custom agents of VS Code: `.github/agents/NAME.agent.md`.

Source: https://code.visualstudio.com/docs/copilot/customization/custom-agents ("Custom agent file
structure").
"""

from pathlib import Path

from pydantic import JsonValue

from orchestrator.formats.converted import Conversion
from orchestrator.formats.front_matter import names_in, split, written
from orchestrator.formats.leaving import Leaving
from orchestrator.specs import Spec

_TOOLS: dict[str, tuple[str, ...]] = {
    "read": ("read_file",),
    "read/readFile": ("read_file",),
    "readFile": ("read_file",),
    "search": ("grep", "find_files", "list_directory"),
    "search/textSearch": ("grep",),
    "textSearch": ("grep",),
    "search/fileSearch": ("find_files",),
    "fileSearch": ("find_files",),
    "search/listDirectory": ("list_directory",),
    "listDirectory": ("list_directory",),
    "search/codebase": ("grep",),
    "codebase": ("grep",),
    "edit": ("write_file", "edit_file", "make_directory"),
    "edit/editFiles": ("edit_file", "apply_edits"),
    "editFiles": ("edit_file", "apply_edits"),
    "edit/createFile": ("write_file",),
    "createFile": ("write_file",),
    "edit/createDirectory": ("make_directory",),
    "createDirectory": ("make_directory",),
}
_BACK = {
    "read_file": "read/readFile",
    "read_files": "read/readFile",
    "grep": "search/textSearch",
    "find_files": "search/fileSearch",
    "list_directory": "search/listDirectory",
    "write_file": "edit/createFile",
    "edit_file": "edit/editFiles",
    "apply_edits": "edit/editFiles",
    "make_directory": "edit/createDirectory",
}
_DELEGATING = ("agent", "agent/runSubagent", "runSubagent")
_LOST = {
    "argument-hint": "inputs are declared in deps_schema",
    "handoffs": "SubAgents names agents that may be asked",
    "target": "it is for VS Code",
    "user-invocable": "every agent of a catalogue can be run",
    "user-invokable": "every agent of a catalogue can be run",
    "disable-model-invocation": "an agent asks those alone that its spec names",
    "infer": "an agent asks those alone that its spec names",
    "mcp-servers": "the MCP capability reaches a server by its URL, from a file",
    "hooks": "a spec runs no commands",
}
_KNOWN = ("name", "description", "tools", "agents", "model", "metadata", *_LOST)


def read_vscode(text: str, file: Path) -> Conversion:
    """Return what a custom agent of VS Code is as a spec. Without `tools` it has none.

    Raises:
        SpecError: If it has a key that there is not.
    """
    head, body, into = split(text, file)
    into.refuse_unknown(head, _KNOWN)
    named = into.text(head, "name", default=file.name.partition(".")[0])
    into.values["name"] = into.name(named)
    into.values["description"] = into.text(head, "description", default=named)
    into.values["instructions"] = into.instructions(body, ("instructions",))
    if "model" in head:
        problem = f"{head['model']!r} is a name of VS Code; it is left out. Name provider:model."
        into.note(("model",), problem)
    if isinstance(head.get("metadata"), dict):
        into.values["metadata"] = head["metadata"]
    elif "metadata" in head:
        raise into.error(("metadata",), "this is a mapping of keys to values.")
    if "tools" not in head:
        into.note(("tools",), "none are named, so it has none; VS Code would give it its own.")
    _tools(head, into)
    for key, instead in _LOST.items():
        if key in head:
            into.note((key,), f"it is left out: {instead}.")
    return into


def _tools(head: dict[str, JsonValue], into: Conversion) -> None:
    named = list(names_in(head.get("tools"), "tools", into))
    ours: list[str] = []
    for name in named:
        if name in _TOOLS:
            ours.extend(_TOOLS[name])
        elif name not in _DELEGATING:
            into.note(("tools",), f"there is no {name!r} here; it is left out.")
    into.give_hands(ours, ("tools",))
    agents = list(names_in(head.get("agents"), "agents", into))
    if "*" in agents:
        into.note(("agents",), "a spec names each agent that may be asked; '*' is left out.")
    elif agents and not any(name in _DELEGATING for name in named):
        into.note(("agents",), "its tools have no 'agent', so it asks nobody; they are left out.")
    elif agents:
        names: list[JsonValue] = [into.name(name, ("agents",)) for name in agents]
        into.add_capability("SubAgents", {"agents": names})
    elif any(name in _DELEGATING for name in named):
        into.note(("tools",), "a spec names each agent that may be asked; 'agent' is left out.")


def write_vscode(spec: Spec) -> tuple[str, list[str]]:
    """Return a spec as a custom agent of VS Code, and what it cannot say there."""
    leaving = Leaving(spec)
    delegates = leaving.delegates()
    tools: list[JsonValue] = [*dict.fromkeys(leaving.tools_as(_BACK))]
    head: dict[str, JsonValue] = {
        "name": spec.name,
        "description": spec.document.description,
        # Left out, it would have what the editor gives it.
        "tools": [*tools, "agent"] if delegates else tools,
    }
    if delegates:
        head["agents"] = [*delegates]
    if spec.document.model:
        leaving.note("model", f"{spec.document.model!r} has no name there; the editor's is taken.")
    return written(head, leaving.instructions()), leaving.all_notes()
