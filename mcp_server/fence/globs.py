"""What a glob means: if it is well formed, and which paths it matches, covers, names or leads to.

Globs are matched against workspace-relative POSIX paths: `*` and `?` stay within one component,
`[ab]` and `[!ab]` name characters, a component `**` stands for any number of components.

Those of what is open are matched as they stand (`matches`, `leads_to`). Those of what is denied, or
exempt from that, are matched without regard to case, and one without `/` names a component anywhere
(`covers`, `named_parts`): on many file systems `.GIT` is `.git`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import Annotated

from pydantic import AfterValidator

_MAX_STARS = 3
"""`*` in one component, and components `**` in one glob: with more, a match takes minutes."""
_WILD = re.compile(r"[*?\[]")


def checked_glob(glob: str) -> str:
    """Return `glob`, with a `**` that is repeated standing there once.

    Raises:
        ValueError: it is not well formed, not relative to the workspace, or too slow to match.
    """
    parts = [part for part, _ in groupby(glob.split("/"), lambda part: part)]
    if any(part.count("*") > _MAX_STARS for part in parts) or parts.count("**") > _MAX_STARS:
        raise ValueError(
            f"a glob has at most {_MAX_STARS} '*' in a component and {_MAX_STARS} '**'"
        )
    if re.search("[\ud800-\udfff]", glob):
        raise ValueError("a glob is valid Unicode text: it holds a lone surrogate")
    if "\0" in glob or any(part in ("", ".", "..") for part in parts):
        raise ValueError(
            "a glob is relative to the workspace, without empty, '.' or '..' components"
        )
    glob = "/".join(parts)
    try:
        _pattern((glob,))
    except re.error as error:
        raise ValueError(f"glob {glob!r} is not well formed: {error}") from error
    return glob


Glob = Annotated[str, AfterValidator(checked_glob)]


def matches(globs: tuple[str, ...], path: str) -> bool:
    """Tell whether one of `globs` matches the whole of `path`, letter by letter."""
    return path != "." and _pattern(globs).fullmatch(path) is not None


def leads_to(globs: tuple[str, ...], directory: str) -> bool:
    """Tell whether something below `directory` could match one of `globs`."""
    parts = [] if directory == "." else directory.split("/")
    return any(_leads_to(glob.split("/"), parts) for glob in globs)


def covers(globs: tuple[str, ...], path: str) -> bool:
    """Tell whether one of `globs` names `path` or a directory above it."""
    return path != "." and _subtrees(globs).search(_fold(path)) is not None


def named_parts(globs: tuple[str, ...], path: str) -> Iterator[bool]:
    """Tell of each component of `path` if one of `globs` names the path down to it.

    `d/**` names `d` and all below it. All globs are followed at once, in one pass: to match each
    directory anew could take minutes.
    """
    split = _components(globs)
    reached = {(glob, at) for glob in split for at in _skipping(glob, 0)}
    for part in _fold(path).split("/"):
        passed = [
            (glob, at if glob[at] == "**" else at + 1)
            for glob, at in reached
            if at < len(glob) and (glob[at] == "**" or matches((glob[at],), part))
        ]
        reached = {(glob, ahead) for glob, at in passed for ahead in _skipping(glob, at)}
        yield any(at == len(glob) for glob, at in reached)


def may_meet(glob: str, name: str) -> bool:
    """Tell whether some path could end in what both `glob` and `name` name, at worst in vain.

    Args:
        glob: any glob.
        name: one without `/`.
    """
    one, other = _fold(glob).rpartition("/")[2], _fold(name)
    if _WILD.search(one) and _WILD.search(other):
        return True  # both name many: which, is not worth to be found out
    return matches((one,), other) or matches((other,), one)


def _skipping(glob: tuple[str, ...], at: int) -> Iterator[int]:
    """Yield the places in `glob` that are reached with `at`: a `**` may stand for nothing."""
    while glob[at : at + 1] == ("**",):
        yield at
        at += 1
    yield at


def _leads_to(glob: list[str], directory: list[str]) -> bool:
    """Tell whether something below `directory` could match `glob`; both in components."""
    for at, part in enumerate(directory):
        if glob[at : at + 1] == ["**"]:
            return True
        if at >= len(glob) or _pattern((glob[at],)).fullmatch(part) is None:
            return False
    return len(glob) > len(directory)


def _fold(text: str) -> str:
    # `.GIT` is `.git` on file systems that ignore case, and so are composed and decomposed letters.
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", text).casefold()


@lru_cache(maxsize=256)
def _subtrees(globs: tuple[str, ...]) -> re.Pattern[str]:
    """Return the expression that finds, in a folded path, what `globs` name or what is below it.

    One expression, as it is asked about each name of a listing.
    """
    folded = [_fold(glob) for glob in globs]
    anywhere = _alternatives([glob for glob in folded if "/" not in glob])
    anchored = _alternatives([glob for glob in folded if "/" in glob])
    return re.compile(rf"(?:(?:\A|/)(?:{anywhere})|\A(?:{anchored}))(?:/|\Z)", re.DOTALL)


@lru_cache(maxsize=256)
def _components(globs: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the components of folded globs, all seen from the root."""
    anchored = (_fold(glob if "/" in glob else f"**/{glob}") for glob in globs)
    return tuple(tuple(glob.split("/")) for glob in anchored)


@lru_cache(maxsize=256)
def _pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    """Return the expression that matches what any of `globs` matches; of no globs, nothing."""
    return re.compile(_alternatives(globs), re.DOTALL)


def _alternatives(globs: Iterable[str]) -> str:
    return "|".join(map(_translate, globs)) or r"(?!)"


def _translate(glob: str) -> str:
    *directories, name = glob.split("/")
    leading = "".join(
        "(?:[^/]+/)*" if part == "**" else _translate_part(part) + "/" for part in directories
    )
    return leading + (".+" if name == "**" else _translate_part(name))


def _translate_part(part: str) -> str:
    tokens = re.findall(r"\*+|\?|\[!?\]?[^\]]*\]|.", part, re.DOTALL)
    return "".join(map(_translate_token, tokens))


def _translate_token(token: str) -> str:
    if token.startswith("*"):
        return "[^/]*"
    if token == "?":
        return "[^/]"
    if len(token) > 1:
        negated = "^" if token.startswith("[!") else ""
        characters = re.sub(r"([\\\[\]^&~|])", r"\\\1", token[1 + len(negated) : -1])
        return f"(?!/)[{negated}{characters}]"
    return re.escape(token)
