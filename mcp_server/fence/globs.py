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

from mcp_server.text import SURROGATE

_MAX_STARS = 3
"""`*` in one component, and components `**` in one glob: no honest one has more."""
_WILD = re.compile(r"[*?\[]")
_LEFT_OUT = re.compile(r"[. ](?:/|\Z)|:")
_IGNORED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)


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
    if SURROGATE.search(glob):
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
    """Tell whether one of `globs` names `path` or a directory above it, on some file system.

    What some file system takes for a name is that name: a path is matched as it is, without what
    they leave out, and as the short name that FAT makes of a long one.
    """
    if path == ".":
        return False
    folded = _fold(path)
    if _subtrees(globs).search(folded) is not None:
        return True
    bare = _bare(folded)
    if bare != folded and _subtrees(globs).search(bare) is not None:
        return True
    return "~" in bare and _short_names(globs).search(bare) is not None


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


def _bare(folded: str) -> str:
    """Return a folded path without what some file systems leave out of a name.

    Code points without a glyph (HFS+, ext4 and f2fs with `casefold`: `.g\u200dit`), dots and spaces
    at the end (FAT, NTFS: `.git.`), streams (NTFS: `.git::$INDEX_ALLOCATION`).
    Source: git's CVE-2014-9390 and CVE-2019-1352; Unicode, Default_Ignorable_Code_Point.
    """
    if not folded.isascii():
        folded = _fold(_IGNORED.sub("", folded))
    if _LEFT_OUT.search(folded) is None:
        return folded
    return "/".join(part.partition(":")[0].rstrip(". ") for part in folded.split("/"))


@lru_cache(maxsize=256)
def _short_names(globs: tuple[str, ...]) -> re.Pattern[str]:
    """Return the expression that finds what FAT may call a name that one of `globs` names.

    Of `.git` it makes `GIT~1`, of `secrets.toml` `SECRET~1.TOM`, and when there are many such,
    two letters and a hash: `SEA1B2~1.TOM`. Source: Microsoft, [MS-FSCC] 2.1.5.2.1, 8.3 names.
    """
    names = "|".join(_short_name(_fold(glob)) for glob in globs if "/" not in glob) or r"(?!)"
    return re.compile(rf"(?:\A|/)(?:{names})(?:/|\Z)", re.DOTALL)


def _short_name(glob: str) -> str:
    start = _WILD.split(glob.lstrip("."))[0].replace(".", "").replace(" ", "")[:2]
    if start:
        return rf"{re.escape(start)}[^/~]{{0,6}}~[0-9](?:\.[^/]*)?"
    end = _WILD.split(glob)[-1].rpartition(".")[2][:3]
    return rf"[^/~]{{1,6}}~[0-9]\.{re.escape(end)}" if end else r"(?!)"


@lru_cache(maxsize=256)
def _subtrees(globs: tuple[str, ...]) -> re.Pattern[str]:
    """Return the expression that finds, in a folded path, what `globs` name or what is below it.

    One expression, as it is asked about each name of a listing.
    """
    folded = [_fold(glob) for glob in globs]
    anywhere = _alternatives([glob for glob in folded if "/" not in glob])
    anchored = _alternatives([glob for glob in folded if "/" in glob])
    # From the start of one component to that of the next, not from each character.
    return re.compile(rf"\A(?:(?:[^/]*/)*?(?:{anywhere})|(?:{anchored}))(?:/|\Z)", re.DOTALL)


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
    runs = [""]  # what stands between two `**`
    for part in directories:
        if part == "**":
            runs.append("")
        else:
            runs[-1] += _translate_part(part) + "/"
    runs[-1] += ".+" if name == "**" else _translate_part(name)
    return _starred("(?:[^/]+/)*", runs)


def _translate_part(part: str) -> str:
    runs = [""]  # what stands between two `*`
    for token in re.findall(r"\*+|\?|\[!?\]?[^\]]*\]|.", part, re.DOTALL):
        if token.startswith("*"):
            runs.append("")
        else:
            runs[-1] += _translate_token(token)
    return _starred("[^/]*", runs)


def _starred(star: str, runs: list[str]) -> str:
    """Return the expression for `runs` with anything that `star` matches between them.

    The first place of a run is as good as any later one, as more is left for the next: only the
    last run, which has to reach the end, is tried at several. Without that, three of each star take
    minutes for one path, during which nothing else runs.
    """
    first, *others = runs
    middle = "".join(f"(?>{star}?{run})" for run in others[:-1])
    return first + middle + (star + others[-1] if others else "")


def _translate_token(token: str) -> str:
    if token == "?":
        return "[^/]"
    if len(token) > 1:
        negated = "^" if token.startswith("[!") else ""
        characters = re.sub(r"([\\\[\]^&~|])", r"\\\1", token[1 + len(negated) : -1])
        return f"(?!/)[{negated}{characters}]"
    return re.escape(token)
