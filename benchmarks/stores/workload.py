"""The turns that every store is given, and what is left of them when they are read back.

Standard library alone: this runs in the peers' environments too.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

MESSAGE_BYTES = 1024
_FILL = "The till adds prices and rounds them once, at the end. " * 20


@dataclass(frozen=True)
class Turn:
    """What a user says and what is answered, a kilobyte each."""

    session: str
    number: int

    @property
    def user(self) -> str:
        """Return what the user says."""
        return self._text("user")

    @property
    def reply(self) -> str:
        """Return what is answered."""
        return self._text("reply")

    def _text(self, role: str) -> str:
        return f"{self.session} {self.number} {role} {_FILL}"[:MESSAGE_BYTES]


def turns_of(session: str, count: int) -> list[Turn]:
    """Return the first turns of a session."""
    return [Turn(session, number) for number in range(1, count + 1)]


@dataclass(frozen=True)
class Found:
    """What a session holds when it is read back."""

    whole: tuple[int, ...]
    """The turns whose two messages follow each other, in the order in which they stand."""
    answered: int
    """Turns whose answer is there, wherever it stands."""
    strays: int
    """Messages that belong to none of these."""
    twice: int
    """Numbers that the store has given more than once."""

    def is_right(self, settled: Collection[int]) -> bool:
        """Say whether it holds each turn that was said to be stored, once, and nothing else."""
        return not self.strays and not self.twice and sorted(self.whole) == sorted(settled)


def found(session: str, texts: Sequence[str], numbers: Sequence[int] = ()) -> Found:
    """Return what the texts of a session's messages, oldest first, amount to.

    >>> one, other = turns_of("s", 2)
    >>> found("s", [one.user, one.reply, other.user, other.reply], [1, 2])
    Found(whole=(1, 2), answered=2, strays=0, twice=0)
    >>> found("s", [one.user, other.user, one.reply, other.reply], [1, 1])
    Found(whole=(), answered=2, strays=4, twice=1)
    """
    whole: list[int] = []
    strays = position = 0
    while position < len(texts):
        turn = Turn(session, int(texts[position].split()[1]))
        if list(texts[position : position + 2]) == [turn.user, turn.reply]:
            whole.append(turn.number)
            position += 2
        else:
            strays += 1
            position += 1
    answered = len({text for text in texts if text.split()[2] == "reply"})
    twice = len(numbers) - len(set(numbers))
    return Found(tuple(whole), answered, strays, twice)
