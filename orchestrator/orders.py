"""What callers may say of a run, and what they must not."""

from collections.abc import Mapping
from typing import TypedDict

from pydantic import JsonValue
from pydantic_ai.models import Model

from orchestrator.connections import WorkspaceConnection
from orchestrator.errors import InvalidInputError
from orchestrator.lifecycle import WhenBusy
from orchestrator.servers.reach import Servers

MAX_PROMPT_CHARS = 1_000_000


class RunOptions(TypedDict, total=False):
    """What may be said of a run beyond agent and prompt."""

    inputs: Mapping[str, JsonValue]
    """What the agent's spec declares in `deps_schema`."""
    model: str | Model | None
    """Instead of the configured one: a name such as `anthropic:claude-sonnet-5-5`, or a model of
    Pydantic AI that the caller has built."""
    session_id: str | None
    """The session to continue; none begins a new one."""
    owner: str | None
    """Whose session it is: another's is not found, and a new one belongs to this owner. None finds
    everybody's, and a new one is nobody's in particular."""
    connection: WorkspaceConnection
    """Instead of the one for all runs, such as `yard.connection.within(grant)`."""
    servers: Servers
    """Instead of those for all runs, such as `yard.servers.within({})`: none."""
    agents_of: str | None
    """Whose definitions agents are found among; by default the owner's."""
    when_busy: WhenBusy
    """If another run holds that session: `reject` (the default) raises `SessionBusyError`, `queue`
    waits until it is free, `fork` runs in a fork of what was there before that run."""
    wait_s: float
    """How long to stand in line, in seconds; 600 by default."""


def check_options(options: RunOptions) -> None:
    """Refuse an option that there is not: a typed dictionary does not when the program runs.

    Raises:
        TypeError: There is none of that name.
    """
    unknown = options.keys() - RunOptions.__annotations__.keys()
    if unknown:
        known = ", ".join(RunOptions.__annotations__)
        raise TypeError(f"A run has no option {min(unknown)!r}; it has {known}.")


def check_prompt(prompt: str) -> None:
    """Refuse a prompt that no run can have.

    Raises:
        InvalidInputError: It is empty, too long or no text.
    """
    if not prompt.strip():
        raise InvalidInputError("The prompt is empty; say what the agent is to do.")
    if len(prompt) > MAX_PROMPT_CHARS:
        raise InvalidInputError(f"The prompt is longer than {MAX_PROMPT_CHARS} characters.")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"The prompt is not valid Unicode text: see character {error.start + 1}."
        ) from None
