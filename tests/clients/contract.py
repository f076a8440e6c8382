"""What each client is given, what it has to tell, and what is expected of it; standard library.

A client is a program: `PROGRAM SERVER ERA`, where SERVER is a `Server` as JSON. It lists and calls,
and prints what it has found as JSON, with these keys. What it has no way to ask for is left out.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

README = "workspace:///README.md"
"""The resource that is read."""
CALL = ("read_file", {"path": "README.md"})
"""The tool that is called."""
PROMPT = ("run_agent", {"agent": "repo_guide", "task": "Where are prices added?"})
"""The prompt that is taken; of its argument `agent`, the beginning is completed."""
TYPED = "repo"

Found = dict[str, str | list[str]]


@dataclass(frozen=True)
class Server:
    """How a client gets there: a command to start, or an address."""

    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    token: str = ""

    def to_json(self) -> str:
        """Return it as a client gets it."""
        return json.dumps(asdict(self))

    @property
    def headers(self) -> dict[str, str]:
        """The headers of each request."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


EXPECTED: Mapping[str, Callable[[str | list[str]], bool]] = {
    "tools": lambda told: {"read_file", "edit_file", "run_agent"} <= {*told},
    "call": lambda told: "A till that adds prices." in told,
    "prompts": lambda told: {"run_agent", "repo_guide"} <= {*told},
    "prompt": lambda told: "Take the role of the agent 'repo_guide'" in told,
    "completion": lambda told: told == ["repo_guide"],
    "resources": lambda told: "workyard://agents/repo_guide" in told,
    "read": lambda told: "A till that adds prices." in told,
}
"""What has to be true of what was found."""


def faults(found: Found, era: str, *, unable: Sequence[str] = ()) -> list[str]:
    """Return what of it is not as expected; of what a client is unable to ask, nothing is."""
    is_new = found.get("protocol") == "2026-07-28"
    wrong = [] if is_new is (era == "auto") else [f"protocol: {found.get('protocol')}"]
    for step, holds in EXPECTED.items():
        if step in unable:
            wrong += [f"{step}: it is able to"] if step in found else []
        elif step not in found:
            wrong.append(f"{step}: nothing was told")
        elif not holds(found[step]):
            wrong.append(f"{step}: {str(found[step])[:200]}")
    return wrong
