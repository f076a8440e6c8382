"""What one caller may do: tools, paths to read and to write, what is denied to all, limits.

Globs are matched against workspace-relative POSIX paths: `*` and `?` stay within one component,
`[ab]` and `[!ab]` name characters, a component `**` stands for any number of components.
A path given to the methods is the resolved one: a link is judged by what it leads to.
"""

import json
import re
import unicodedata
from functools import lru_cache
from itertools import groupby
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mcp_server.errors import InvalidInputError

ToolName = Literal[
    "read_file",
    "write_file",
    "list_directory",
    "grep",
    "make_directory",
    "move_path",
    "delete_path",
]

TOOL_NAMES: tuple[ToolName, ...] = get_args(ToolName)

DEFAULT_DENY: tuple[str, ...] = (
    # History, hooks and settings: writing there is running code, or changing the rules.
    ".git",
    ".workyard",
    # Temporary files of our own writes.
    ".workyard-*.tmp",
    # Secrets, whether they exist yet or not.
    ".env",
    ".env.*",
    ".netrc",
    ".pypirc",
    ".git-credentials",
    ".ssh",
    ".gnupg",
    ".aws",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
)

_MAX_STARS = 3
"""`*` in one component, and components `**` in one glob: with more, a match takes minutes."""


def _checked_glob(glob: str) -> str:
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


def _with_default_deny(globs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*DEFAULT_DENY, *globs)))


def _distinct_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse what two readers would understand differently."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in values if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return values


Glob = Annotated[str, AfterValidator(_checked_glob)]
Count = Annotated[int, Field(gt=0, strict=True)]


class Limits(BaseModel):
    """How much one call may take and give; each has room for work and none for flooding a model."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    read_lines: Count = 2000
    """Lines in one page of a file: what models of all makers are used to."""
    read_bytes: Count = 50_000
    """Bytes in one page of a file, about 12,000 tokens: hosts refuse results over 25,000."""
    line_chars: Count = 2000
    """Characters of one line in a page: minified code comes in lines of megabytes."""
    match_chars: Count = 500
    """Characters of one line in a search result."""
    matches: Count = 200
    """Matches in one search result."""
    entries: Count = 1000
    """Entries in one listing."""
    file_bytes: Count = 10_000_000
    """Bytes of a file that is read as a whole or written: it is held in memory."""
    call_s: float = Field(default=30, gt=0, strict=True, allow_inf_nan=False)
    """Seconds of one call: hosts give up after 60."""


class Grant(BaseModel):
    """What one caller may do. An empty grant allows nothing; what is denied is denied for good."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tools: tuple[ToolName, ...] = ()
    """Tools that may be called."""
    read: tuple[Glob, ...] = ()
    """Globs of the paths that may be read."""
    write: tuple[Glob, ...] = ()
    """Globs of the paths that may be written."""
    deny: Annotated[tuple[Glob, ...], AfterValidator(_with_default_deny)] = DEFAULT_DENY
    """Globs of what is out of reach together with all below it, whatever `read` and `write` say.

    What is given is added to the default ones: no grant opens secrets, history or settings.
    Matched without regard to case; a glob without `/` is matched against every component.
    """
    limits: Limits = Limits()
    """How much one call may take and give."""

    @classmethod
    def full(cls) -> Self:
        """Return the grant of a caller who may use every tool on all but what is denied."""
        return cls(tools=TOOL_NAMES, read=("**",), write=("**",))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the grant that `text` describes; one that is broken allows nothing, by failing.

        Raises:
            InvalidInputError: the text is not JSON, or not a grant.
        """
        try:
            values = json.loads(text, object_pairs_hook=_distinct_keys)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"The grant cannot be used: it is not JSON ({error})."
            ) from error
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: object) -> Self:
        """Return the grant that plain values describe.

        Raises:
            InvalidInputError: they are not a grant; the message names the first fault.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidInputError(f"The grant cannot be used: {_first_fault(error)}.") from error

    def allows_tool(self, name: str) -> bool:
        """Tell whether the tool `name` may be called."""
        return name in self.tools

    def denies(self, path: str) -> bool:
        """Tell whether `path` or a directory above it is denied."""
        return _is_under(self.deny, path)

    def may_read(self, path: str) -> bool:
        """Tell whether the file at the resolved `path` may be read."""
        return _matches_any(self.read, path) and not self.denies(path)

    def may_write(self, path: str) -> bool:
        """Tell whether the file at the resolved `path` may be written, if it exists or not."""
        return _matches_any(self.write, path) and not self.denies(path)

    def may_list(self, path: str) -> bool:
        """Tell whether the directory at the resolved `path` may hold something to read."""
        return _leads_to_any(self.read, path) and not self.denies(path)


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"])) or "the whole"
    if fault["loc"][:1] == ("tools",) and fault["type"] == "literal_error":
        known = ", ".join(map(repr, TOOL_NAMES))
        return f"{where}: there is no tool {fault['input']!r}; the tools are {known}"
    if fault["type"] == "extra_forbidden":
        return f"there is no field {where!r}; the fields are {', '.join(Grant.model_fields)}"
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"


def _parts(path: str) -> list[str]:
    return [] if path == "." else path.split("/")


def _matches_any(globs: tuple[str, ...], path: str) -> bool:
    return path != "." and _pattern(globs).fullmatch(path) is not None


def _is_under(globs: tuple[str, ...], path: str) -> bool:
    return path != "." and _subtrees(globs).search(_fold(path)) is not None


def _leads_to_any(globs: tuple[str, ...], directory: str) -> bool:
    return any(_leads_to(glob.split("/"), _parts(directory)) for glob in globs)


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
    anywhere = "|".join(_translate(glob) for glob in folded if "/" not in glob) or r"(?!)"
    anchored = "|".join(_translate(glob) for glob in folded if "/" in glob) or r"(?!)"
    return re.compile(rf"(?:(?:\A|/)(?:{anywhere})|\A(?:{anchored}))(?:/|\Z)", re.DOTALL)


@lru_cache(maxsize=256)
def _pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    """Return the expression that matches what any of `globs` matches; of no globs, nothing."""
    return re.compile("|".join(map(_translate, globs)) or r"(?!)", re.DOTALL)


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
