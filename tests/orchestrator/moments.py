"""The moments of runs at which something can come between: each write to the record, each call.

They are found by what happens, and not from a list: a team that does more has more of them.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # whatever a method takes and returns

import pytest

from orchestrator.connections import MetaClient
from orchestrator.events import Event, RunEnded
from orchestrator.store.claimed import Additions
from orchestrator.store.store import Store

CALL = "before call: "


def nothing(*_: object) -> None:
    """Let it pass."""


@dataclass
class Moments:
    """Does something at every so manieth moment that is new."""

    every: int = 1
    first: int = 0
    act: Callable[[], None] = nothing
    passed: list[str] = field(default_factory=list)
    """All of them, in their order."""
    acted: list[str] = field(default_factory=list)
    """At which it has been done."""

    def __call__(self, moment: str) -> None:
        is_new = moment not in self.passed
        self.passed.append(moment)
        if is_new and (len({*self.passed}) - 1) % self.every == self.first:
            self.acted.append(moment)
            self.act()


@dataclass
class MomentsOfAll(Moments):
    """The moments of processes that follow one another; each writes its own down."""

    file: Path = Path()

    def __post_init__(self) -> None:
        self.passed = self.file.read_text().splitlines() if self.file.exists() else []

    def __call__(self, moment: str) -> None:
        with self.file.open("a") as file:
            file.write(f"{moment}\n")
        super().__call__(moment)


@contextmanager
def passing(moments: Callable[[str], None]) -> Iterator[None]:
    """Tell of each moment of the runs of this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("claim", "resume", "record", "end"):
            write = getattr(Store, name)
            patch.setattr(Store, name, _around(write, moments, f"write: {name}"))
        call = MetaClient.call_tool_mcp
        patch.setattr(MetaClient, "call_tool_mcp", _around(call, moments, "call:"))
        yield


def called(tool: str, arguments: object) -> str:
    """Return the moment before a call."""
    return f"{CALL}{tool} {arguments}"


def _around(
    method: Callable[..., Awaitable[Any]], moments: Callable[[str], None], kind: str
) -> Callable[..., Awaitable[Any]]:
    async def passed(self: object, *arguments: Any, **named: Any) -> Any:
        about = " ".join(filter(None, map(_told, (*arguments, *named.values()))))
        moments(f"before {kind} {about}")
        returned = await method(self, *arguments, **named)
        moments(f"after {kind} {about}")
        return returned

    return passed


def _told(argument: Any) -> str:
    """Return what tells one moment from another, and is the same in each attempt at a run."""
    match argument:
        case Additions(messages=messages, events=events):
            return ", ".join([*(message.kind for message in messages), *map(_event, events)])
        case RunEnded(status=status):
            return str(status)
        case str() | {"path": str()}:
            return str(argument)
        case _:
            draft = getattr(argument, "draft", argument)
            return str(getattr(draft, "agent", ""))


def _event(event: Event) -> str:
    return f"{event.type} {getattr(event, 'call_id', '')}".rstrip()
