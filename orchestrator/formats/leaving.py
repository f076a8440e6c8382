"""A spec on its way into a format that says less: what can be taken along, and what is lost."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pydantic_handlebars
from pydantic import JsonValue

from orchestrator.errors import InputsError
from orchestrator.specs import Spec

_SAID = frozenset({"name", "description", "instructions", "model", "capabilities", "deps_schema"})
_EVERYWHERE = ["**"]


@dataclass
class Leaving:
    """A spec, and what is said about it."""

    spec: Spec
    notes: list[str] = field(default_factory=list)

    def note(self, field: str, text: str) -> None:
        """Say what becomes of something."""
        self.notes.append(f"{field}: {text}")

    def arguments(self, capability: str) -> Mapping[str, JsonValue]:
        """Return the arguments of a capability that has some by name."""
        for entry in self.spec.document.capabilities:
            given = entry.get(capability) if isinstance(entry, dict) else None
            if isinstance(given, dict):
                return given
        return {}

    def tools(self) -> list[str]:
        """Return the tools of the workspace; what bounds them cannot be said elsewhere."""
        given = self.arguments("WorkspaceTools")
        tools = given.get("tools")
        for side in ("read", "write"):
            globs = given.get(side) or []
            if globs not in ([], _EVERYWHERE):
                text = f"{globs} cannot be said there: nothing bounds where its tools {side}."
                self.note(f"WorkspaceTools.{side}", text)
        return [str(tool) for tool in tools] if isinstance(tools, list) else []

    def tools_as(self, theirs: Mapping[str, str]) -> Iterator[str]:
        """Yield the tools by their names elsewhere; say which have none."""
        for tool in self.tools():
            if tool in theirs:
                yield theirs[tool]
            else:
                self.note("WorkspaceTools.tools", f"{tool} has no tool there that does the same.")

    def delegates(self) -> list[str]:
        """Return the names of the agents that it may ask."""
        names = self.arguments("SubAgents").get("agents")
        return [str(name) for name in names] if isinstance(names, list) else []

    def instructions(self) -> str:
        """Return the instructions, with the defaults of inputs in their places."""
        written = self.spec.document.instructions
        text = written if isinstance(written, str) else "\n\n".join(written)
        if self.spec.document.deps_schema is None:
            return text.replace("\\{{", "{{")
        try:
            inputs = self.spec.complete_inputs({})
        except InputsError as error:
            self.note("deps_schema", f"inputs cannot be said there, and templates stay: {error}")
            return text
        if inputs:
            self.note("deps_schema", f"inputs cannot be said there; they are {inputs}.")
        return str(pydantic_handlebars.render(text, inputs))

    def all_notes(self, *, budget: Iterable[str] = ()) -> list[str]:
        """Return what was said, and what else the format has no words for.

        Args:
            budget: The limits of a budget that it has words for.
        """
        for key in self.spec.values:
            if key not in _SAID:
                self.note(key, "cannot be said there; it is left out.")
        for name in self.arguments("Budget"):
            if name not in budget:
                self.note(f"Budget.{name}", "cannot be said there; it is left out.")
        for entry in self.spec.document.capabilities:
            name = entry if isinstance(entry, str) else next(iter(entry), "")
            if name not in ("WorkspaceTools", "SubAgents", "Budget"):
                self.note(name, "cannot be said there; it is left out.")
        return self.notes
