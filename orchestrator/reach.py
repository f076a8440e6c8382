"""What a spec grants its agent beyond what the operator lets anybody do.

The server leaves that out when the agent runs; whoever writes a spec should hear of it before.
Whether one glob holds all that another names is not asked for: a path is made of each, and tried.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from mcp_server.errors import InvalidInputError
from mcp_server.fence.globs import matches
from mcp_server.fence.grant import Grant
from orchestrator.spec_source import Place
from orchestrator.specs import Spec

WORKSPACE_TOOLS = "WorkspaceTools"
"""The name of the capability in a spec."""

_NAME = "x7q"
"""A name that no glob means by chance."""
_TOKEN = re.compile(r"\*+|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)
_LETTERS = "xyzXYZ0123456789-_"


@dataclass(frozen=True)
class Excess:
    """A tool or a glob of a spec that reaches beyond the operator's grant."""

    place: Place
    field: Literal["tools", "read", "write", "allow"]
    granted: str
    example: str = ""
    """Of a glob: a path that it names, and that the operator keeps out of reach."""
    instead: tuple[str, ...] = ()
    """What the operator has in that field."""

    @property
    def named(self) -> str:
        """What it is, in few words."""
        return self.granted if self.field == "tools" else f"to {self.field} {self.granted!r}"

    @property
    def problem(self) -> str:
        """What is wrong, and the way out."""
        flag = f"--{self.field}"
        if self.field == "allow":
            return (
                f"{self.granted!r} opens nothing: the operator does not allow {self.example!r}. "
                f"Have it allowed ({flag}), or leave it out."
            )
        has = f"has {', '.join(map(repr, self.instead))} there" if self.instead else "has none"
        if self.field == "tools":
            return (
                f"{self.granted!r} is no tool of the operator's grant, which {has}. Leave it out, "
                f"or have it granted ({flag})."
            )
        return (
            f"{self.granted!r} reaches beyond the operator's grant, which {has} and keeps "
            f"{self.example!r} out. Narrow it, or have it granted ({flag}, --allow)."
        )


def excesses(spec: Spec, operator: Grant) -> Iterator[Excess]:
    """Yield what a spec grants beyond the operator's grant."""
    for index, entry in enumerate(spec.document.capabilities):
        given = entry.get(WORKSPACE_TOOLS) if isinstance(entry, dict) else None
        try:
            grant = Grant.from_values(given or {})
        except InvalidInputError:  # whoever builds the agent says so
            continue
        yield from _beyond(grant, operator, ("capabilities", index, WORKSPACE_TOOLS))


def _beyond(grant: Grant, operator: Grant, place: Place) -> Iterator[Excess]:
    for at, tool in enumerate(grant.tools):
        if not operator.allows_tool(tool):
            yield Excess((*place, "tools", at), "tools", tool, instead=operator.tools)
    reaches: tuple[tuple[Literal["read", "write"], Callable[[str], bool]], ...] = (
        ("read", operator.may_read),
        ("write", operator.may_write),
    )
    for field, may in reaches:
        for at, glob in enumerate(getattr(grant, field)):
            found = next((path for path in _named_by(glob) if not may(path)), None)
            if found is not None:
                has = getattr(operator, field)
                yield Excess((*place, field, at), field, glob, found, has)
    for at, glob in enumerate(grant.allow):
        found = next((path for path in _named_by(glob) if operator.denies(path)), None)
        if found is not None:
            yield Excess((*place, "allow", at), "allow", glob, found)


def _named_by(glob: str) -> Iterator[str]:
    """Yield some paths that a glob matches: where it says anything, what nothing else says."""
    for depth in range(3):
        parts: list[str] = []
        *above, last = glob.split("/")
        for part in above:
            parts += [_NAME] * depth if part == "**" else [_fitting(part)]
        parts += [_NAME] * max(depth, 1) if last == "**" else [_fitting(last)]
        path = "/".join(parts)
        if matches((glob,), path):
            yield path


def _fitting(part: str) -> str:
    """Return a name that one component of a glob matches."""
    return "".join(map(_of_token, _TOKEN.findall(part)))


def _of_token(token: str) -> str:
    if token.startswith("*"):
        return _NAME
    if token == "?" or token.startswith("["):
        return next((letter for letter in _LETTERS + token if matches((token,), letter)), "x")
    return token
