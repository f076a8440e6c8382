"""Which files a caller wants, by a glob of its own.

The globs are those of the grant, and more that models are used to: one without `/` names files at
any depth, `{a,b}` stands for either, `!` in front for all the others. A glob never opens anything:
what may be read is the grant's to say.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mcp_server.errors import InvalidInputError, LimitError
from mcp_server.fence.globs import checked_glob, matches
from mcp_server.text import quoted

_MAX_CHARS = 1000
_MAX_GLOBS = 50
"""Globs that the braces of one may stand for."""
_BRACES = re.compile(r"\{([^{}]*)\}")
_SIMPLE = re.compile(r"[\w.*?-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The files that a caller's glob matches, by their paths below the directory it is about."""

    globs: tuple[str, ...]
    is_negated: bool

    @classmethod
    def parse(cls, glob: str) -> "Wanted":
        """Return what `glob` means.

        Raises:
            LimitError: it is too long.
            InvalidInputError: it is not well formed.
        """
        if len(glob) > _MAX_CHARS:
            raise LimitError(
                f"The glob has {len(glob)} characters; at most {_MAX_CHARS} are taken. Take a "
                "simpler one.",
                limit=_MAX_CHARS,
                actual=len(glob),
                unit="characters",
            )
        is_negated = glob.startswith("!")
        plain = glob.removeprefix("!").removeprefix("./")
        try:
            globs = tuple(checked_glob(each) for each in map(_anchored, _expanded(plain)))
        except ValueError as error:
            raise InvalidInputError(
                f"Glob {quoted(glob)} is not accepted: {error}. Write for example '*.py', "
                "'docs/**/*.md' or '*.{ts,tsx}', and '[' as '[[]'."
            ) from error
        if is_negated:  # a directory that is not wanted is not wanted with all below it
            globs += tuple(f"{each}/**" for each in globs if not each.endswith("/**"))
        return cls(globs, is_negated)

    def has(self, path: str) -> bool:
        """Tell whether the file at `path` is wanted."""
        return matches(self.globs, path) != self.is_negated

    def options(self) -> list[str]:
        """Return what makes ripgrep leave out some of what is not wanted, to save work.

        As the definition of a file type: `--glob` would bring back what .gitignore leaves out.
        """
        names = dict.fromkeys(glob.rpartition("/")[2] for glob in self.globs)
        if self.is_negated or "**" in names or not all(map(_SIMPLE.fullmatch, names)):
            return []
        return [*(f"--type-add=wanted:{name}" for name in names), "--type=wanted"]


def _anchored(glob: str) -> str:
    """Return the glob as the grant writes it: matched from the start, `**` for any depth."""
    if "/" not in glob:
        return f"**/{glob}"
    below = "**" if glob.endswith("/") else ""
    return glob.removeprefix("/") + below


def _expanded(glob: str) -> Iterator[str]:
    """Yield what the braces of `glob` stand for, the inner ones first."""
    pending = [glob]
    for count, each in enumerate(pending):
        if count > _MAX_GLOBS:
            raise ValueError(f"its braces stand for more than {_MAX_GLOBS} globs")
        braces = _BRACES.search(each)
        if braces is None:
            if "{" in each or "}" in each:
                raise ValueError("a brace has no partner")
            yield each
        else:
            head, tail = each[: braces.start()], each[braces.end() :]
            pending += [f"{head}{choice}{tail}" for choice in braces[1].split(",")]
