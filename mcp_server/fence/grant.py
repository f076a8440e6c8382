"""What one caller may do: tools, paths to read and to write, what is out of reach, limits.

What globs mean is in `globs.py`. A path given to the methods is the resolved one: a link is judged
by what it leads to.
"""

import json
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mcp_server.errors import InvalidInputError
from mcp_server.fence.globs import Glob, covers, leads_to, matches, may_meet, named_parts

ToolName = Literal[
    "read_file",
    "read_files",
    "write_file",
    "edit_file",
    "apply_edits",
    "list_directory",
    "find_files",
    "grep",
    "file_info",
    "make_directory",
    "move_path",
    "delete_path",
]

TOOL_NAMES: tuple[ToolName, ...] = get_args(ToolName)

WRITING_TOOLS: tuple[ToolName, ...] = (
    "write_file",
    "edit_file",
    "apply_edits",
    "make_directory",
    "move_path",
    "delete_path",
)
"""The tools that change files."""

NEVER_ALLOWED: tuple[str, ...] = (
    # Policy: what writes there says what may be written.
    ".workyard",
    # Temporary files of our own writes.
    ".workyard-*.tmp",
)
"""Globs of what no grant opens."""

DEFAULT_DENY: tuple[str, ...] = (
    # History, hooks and settings: writing there is running code.
    ".git",
    # So is writing what editors and hosts read when somebody opens the directory: they start the
    # servers, tasks and hooks that stand there.
    ".vscode",
    ".idea",
    ".zed",
    ".cursor",
    ".claude",
    ".codex",
    ".gemini",
    ".junie",
    ".mcp.json",
    "opencode.json",
    "opencode.jsonc",
    ".devcontainer",
    ".envrc",
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
"""Globs of what a grant opens only where its `allow` names it; all without `/`."""

MAX_WITHIN = 16
"""Grants that one can lie within: each is asked about each path."""

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
    media_bytes: Count = 700_000
    """Bytes of a picture or PDF that is shown: base64 adds a third, and hosts cut at 1 MiB."""
    call_s: float = Field(default=30, gt=0, strict=True, allow_inf_nan=False)
    """Seconds of one call: hosts give up after 60."""
    calls: Count | None = None
    """Calls that one server takes in its life; without bound when None."""

    def narrowed_by(self, other: "Limits") -> "Limits":
        """Return the smaller one of each limit."""
        both = {name: (getattr(self, name), getattr(other, name)) for name in Limits.model_fields}
        return Limits.model_validate(
            {
                name: min((value for value in values if value is not None), default=None)
                for name, values in both.items()
            }
        )


class Reach(BaseModel):
    """The paths that one caller gets at. An empty reach holds nothing."""

    # An instance of a subclass is checked anew where a reach is expected: a grant that posed as one
    # would lose there what it lies within.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        revalidate_instances="subclass-instances",
    )

    read: tuple[Glob, ...] = ()
    """Globs of the paths that may be read."""
    write: tuple[Glob, ...] = ()
    """Globs of the paths that may be written."""
    deny: tuple[Glob, ...] = ()
    """Globs of what is out of reach together with all below it, whatever else is said.

    Matched without regard to case; a glob without `/` is matched against every component.
    """
    allow: tuple[Glob, ...] = ()
    """Globs of what is exempt from `DEFAULT_DENY`, matched in the same way.

    Each name on the way must be exempt: `.git` opens what lies below except what a default names
    too, such as `.git/x.pem`; `.git/**` opens that as well; `.git/config` alone opens nothing.
    """

    @property
    def skippable(self) -> tuple[str, ...]:
        """Globs of what is certainly denied: a search need not look there."""
        kept = (
            name
            for name in DEFAULT_DENY
            if not any(may_meet(allowed, name) for allowed in self.allow)
        )
        return (*NEVER_ALLOWED, *kept, *self.deny)

    def denies(self, path: str) -> bool:
        """Tell whether `path` or a directory above it is denied."""
        always = (*NEVER_ALLOWED, *self.deny)
        if not covers((*always, *DEFAULT_DENY), path):  # most are not: one look is enough
            return False
        parts = zip(path.split("/"), named_parts(self.allow, path), strict=True)
        return covers(always, path) or any(
            covers(DEFAULT_DENY, part) and not is_allowed for part, is_allowed in parts
        )


class Grant(Reach):
    """What one caller may do. An empty grant allows nothing."""

    tools: tuple[ToolName, ...] = ()
    """Tools that may be called."""
    limits: Limits = Limits()
    """How much one call may take and give."""
    within: tuple[Reach, ...] = Field(default=(), max_length=MAX_WITHIN)
    """What other grants, which this one was narrowed by, hold: a path must be within each.

    Globs have no intersection that is a glob.
    """

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

    def narrowed_by(self, other: "Grant") -> Self:
        """Return the grant of what both this one and `other` allow, with the smaller limits.

        Raises:
            InvalidInputError: it would lie within more than `MAX_WITHIN` others.
        """
        own = self._reach()
        others = dict.fromkeys((*self.within, other._reach(), *other.within))
        return self.from_values(
            {
                **dict(own),
                "tools": tuple(name for name in self.tools if name in other.tools),
                "limits": self.limits.narrowed_by(other.limits),
                "within": tuple(each for each in others if each != own),
            }
        )

    def denying(self, globs: tuple[str, ...]) -> Self:
        """Return this grant without what `globs` name.

        Raises:
            InvalidInputError: one is not well formed.
        """
        return self.from_values({**dict(self), "deny": (*self.deny, *globs)})

    @property
    def skippable(self) -> tuple[str, ...]:
        """Globs of what is certainly denied: a search need not look there."""
        every = (super().skippable, *(each.skippable for each in self.within))
        return tuple(dict.fromkeys(glob for globs in every for glob in globs))

    def allows_tool(self, name: str) -> bool:
        """Tell whether the tool `name` may be called."""
        return name in self.tools

    def denies(self, path: str) -> bool:
        """Tell whether `path` or a directory above it is denied."""
        return super().denies(path) or any(each.denies(path) for each in self.within)

    def may_read(self, path: str) -> bool:
        """Tell whether the file at the resolved `path` may be read."""
        return all(matches(globs, path) for globs in self.readable) and not self.denies(path)

    def may_write(self, path: str) -> bool:
        """Tell whether the file at the resolved `path` may be written, if it exists or not."""
        return all(matches(globs, path) for globs in self.writable) and not self.denies(path)

    def may_list(self, path: str) -> bool:
        """Tell whether the directory at the resolved `path` may hold something to read."""
        return all(leads_to(globs, path) for globs in self.readable) and not self.denies(path)

    def may_hold_written(self, path: str) -> bool:
        """Tell whether the directory at the resolved `path` may hold something to write."""
        return all(leads_to(globs, path) for globs in self.writable) and not self.denies(path)

    @property
    def readable(self) -> tuple[tuple[Glob, ...], ...]:
        """Globs of what may be read: one of each tuple matches it."""
        return (self.read, *(each.read for each in self.within))

    @property
    def writable(self) -> tuple[tuple[Glob, ...], ...]:
        """Globs of what may be written: one of each tuple matches it."""
        return (self.write, *(each.write for each in self.within))

    def _reach(self) -> Reach:
        return Reach(read=self.read, write=self.write, deny=self.deny, allow=self.allow)


def _distinct_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse what two readers would understand differently."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in values if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return values


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"])) or "the whole"
    if fault["loc"][:1] == ("tools",) and fault["type"] == "literal_error":
        known = ", ".join(map(repr, TOOL_NAMES))
        return f"{where}: there is no tool {fault['input']!r}; the tools are {known}"
    if fault["type"] == "extra_forbidden":
        parts: dict[str, type[BaseModel]] = {"limits": Limits, "within": Reach}
        holder = parts.get(str(fault["loc"][0]), Grant) if len(fault["loc"]) > 1 else Grant
        return f"there is no field {where!r}; the fields are {', '.join(holder.model_fields)}"
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"
