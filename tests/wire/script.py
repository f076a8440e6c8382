"""What the pretend model does, whichever wire format it speaks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PIECE_LENGTH = 8
"""Characters in one streamed piece: short enough that words and JSON arguments are cut in two."""


@dataclass(frozen=True)
class Say:
    """Text the model writes."""

    text: str


@dataclass(frozen=True)
class Call:
    """A tool the model wants called."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)  # any JSON object


@dataclass(frozen=True)
class Turn:
    """One complete answer: text and calls in order, and the tokens the provider counted for it."""

    parts: tuple[Say | Call, ...]
    input_tokens: int = 11
    output_tokens: int = 7

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Say))

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(part for part in self.parts if isinstance(part, Call))


@dataclass(frozen=True)
class Fail:
    """An error status in the provider's own JSON shape."""

    status: int
    message: str
    retry_after: float | str | None = None
    """Seconds, or an HTTP date, as the `Retry-After` header; Google tells seconds in the body."""
    code: str | None = None
    """The provider's own word for the error, where the status alone does not say it."""
    after: str | None = None
    """Text a streamed answer gives under status 200 before the error comes as an event."""
    client_retries: bool = False
    """Whether OpenAI's and Anthropic's clients may try again by themselves (twice by default).

    False sends `x-should-retry: false`, so that one `Fail` in a script is one error for the caller.
    """


@dataclass(frozen=True)
class Hang:
    """Take the request and never answer, until the client goes away or the server closes."""


@dataclass(frozen=True)
class Drop:
    """Begin to answer with `text`, then close the connection in the middle."""

    text: str = "Once upon a time"


@dataclass(frozen=True)
class Stop:
    """Begin to answer with `text`, then end as if all were said: a proxy that lost the provider."""

    text: str = "Once upon a time"


@dataclass(frozen=True)
class Heard:
    """What a real server has said, byte for byte, whatever it was asked here."""

    body: bytes
    status: int = 200


@dataclass(frozen=True)
class Received:
    """One request, decoded."""

    number: int
    """1 for the first request to this `Wire`."""
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: dict[str, Any]
    """The JSON object as it came; any JSON."""
    key: str | None
    """The credential: bearer token, `x-api-key` or `x-goog-api-key`."""
    port: int = 0
    """The client's, which tells its connections apart."""
    model: str = ""
    streamed: bool = False
    tools: tuple[str, ...] = ()
    """Names of the tools on offer."""
    tool_results: tuple[str, ...] = ()
    """What tools answered so far, as text, oldest first."""


Answer = Turn | Say | Call | Fail | Hang | Drop | Stop | Heard
Script = Sequence[Answer] | Callable[[Received], Answer]


def turn(*parts: Say | Call, input_tokens: int = 11, output_tokens: int = 7) -> Turn:
    """Make a `Turn` of several parts."""
    return Turn(parts, input_tokens=input_tokens, output_tokens=output_tokens)


def always(answer: Answer) -> Callable[[Received], Answer]:
    """Make a script that answers every request alike, which is what a client that retries needs."""
    return lambda _: answer


def pieces(text: str) -> list[str]:
    """Cut `text` into the pieces in which it is streamed."""
    return [text[start : start + PIECE_LENGTH] for start in range(0, len(text), PIECE_LENGTH)]
