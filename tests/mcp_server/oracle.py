"""What a path means, decided without the system and without the code that is tested.

A tree is a dict from components to nodes. Resolution goes by these rules alone:

1. Components are taken one by one, from the root; "" and "." say nothing.
2. `..` leaves the directory that was reached; at the root it is an escape, for good.
3. Only a directory has something below it.
4. A link stands for its text; an absolute one is an escape, wherever it leads.

What the two openers may decide differently is in `Answer.may_be_a_loop` and `has_slash`, no more.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

Place = tuple[str, ...]

WALK_LINKS, WALK_TURNS, WALK_STEPS, KERNEL_LINKS = 8, 8, 255, 40
"""Limits of Go's os.Root, and of Linux (MAXSYMLINKS): beyond them an opener may say "loop"."""


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory."""


@dataclass(frozen=True, slots=True)
class File:
    """A file and its content."""

    content: str


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link and its text."""

    target: str


Node = Directory | File | Link
Tree = Mapping[Place, Node]


class Verdict(Enum):
    """How a resolution ends."""

    FILE = "a file"
    DIRECTORY = "a directory"
    ESCAPE = "it leads out"
    MISSING = "there is nothing"
    NOT_A_DIRECTORY = "a file is used as a directory"
    LOOP = "it never ends"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path means, and what it took to find out."""

    verdict: Verdict
    place: Place = ()
    """Where it is; of what is missing, where it would be."""
    links: int = 0
    turns: int = 0
    """Runs of `..`: the walk starts anew for each."""
    steps: int = 0
    """Components that the walk takes, at most."""
    has_slash: bool = False
    """Whether a link at the end says by its text that it leads to a directory."""

    @property
    def may_be_a_loop(self) -> bool:
        """Whether the walk may give up before it comes to the verdict."""
        return self.links > WALK_LINKS or self.turns > WALK_TURNS or self.steps > WALK_STEPS


class _Resolution:
    def __init__(self, tree: Tree, path: str) -> None:
        self._tree = tree
        self._pending = deque(components(path))
        self._at: list[str] = []
        self._links = self._turns = self._steps = 0
        self._was_up = self._has_slash = False

    def run(self) -> Answer:
        while self._pending:
            name = self._pending.popleft()
            verdict = self._up() if name == ".." else self._down(name)
            if verdict is not None:
                return self._answer(verdict)
        node = self._tree[tuple(self._at)]
        return self._answer(Verdict.FILE if isinstance(node, File) else Verdict.DIRECTORY)

    def _up(self) -> Verdict | None:
        self._turns += not self._was_up
        self._was_up = True
        if isinstance(self._tree[tuple(self._at)], File):
            return Verdict.NOT_A_DIRECTORY
        if not self._at:
            return Verdict.ESCAPE
        self._at.pop()
        self._steps += 1 + len(self._at)
        return None

    def _down(self, name: str) -> Verdict | None:
        self._was_up = False
        self._steps += 1
        if isinstance(self._tree[tuple(self._at)], File):
            return Verdict.NOT_A_DIRECTORY
        self._at.append(name)
        node = self._tree.get(tuple(self._at))
        if node is None:
            return Verdict.MISSING
        if isinstance(node, Link):
            return self._follow(node)
        return None

    def _follow(self, link: Link) -> Verdict | None:
        self._at.pop()
        self._links += 1
        if self._links > KERNEL_LINKS:
            return Verdict.LOOP
        if link.target.startswith("/"):
            return Verdict.ESCAPE
        if not self._pending:
            self._has_slash |= link.target.endswith(("/", "/."))
        self._pending.extendleft(reversed(components(link.target)))
        return None

    def _answer(self, verdict: Verdict) -> Answer:
        place = (*self._at, *self._pending) if verdict is Verdict.MISSING else tuple(self._at)
        return Answer(verdict, place, self._links, self._turns, self._steps, self._has_slash)


def components(path: str) -> Place:
    """Return what a path is made of."""
    return tuple(part for part in path.split("/") if part not in ("", "."))


def resolve(tree: Tree, path: str) -> Answer:
    """Return what `path`, relative to the root of `tree`, means.

    A path that ends in a slash or a dot must mean a directory.
    """
    answer = _Resolution(tree, path).run()
    if answer.verdict is Verdict.FILE and path.endswith(("/", "/.")):
        return Answer(Verdict.NOT_A_DIRECTORY, answer.place, answer.links, answer.turns)
    return answer
