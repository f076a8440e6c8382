"""`servers.toml` in the operator's config directory: MCP servers by name, and never a secret.

It is read strictly, whenever a run names a server: an edit counts from the next run on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    model_validator,
)

from orchestrator.errors import ServerNotFoundError, ServerSettingsError
from orchestrator.servers.names import MAX_SHOWN_CHARS, TOOL_PATTERN, is_name, shown_name
from orchestrator.settings_file import known_names, plain_url, read_settings
from orchestrator.spec_source import Place

FILE = "servers.toml"
ALL = "*"

Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Tool = Annotated[str, StringConstraints(pattern=TOOL_PATTERN)]
Asked = Annotated[str, StringConstraints(pattern=rf"^\*$|{TOOL_PATTERN}")]
Header = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+$")]
HeaderValue = Annotated[
    str, StringConstraints(pattern=r"^(?:[A-Za-z0-9-]+ )?\$\{[A-Za-z_][A-Za-z0-9_]*\}$")
]


class Server(BaseModel):
    """One server, and what agents may do with it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    command: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = None
    """A program with its arguments. It runs in the config directory, out of every agent's reach."""
    env: list[Variable] = []
    """The variables that it is given, beside HOME, PATH and the like. What they hold is taken for
    secret."""
    url: Annotated[str, AfterValidator(plain_url)] | None = None
    """Where a server is that speaks Streamable HTTP."""
    headers: Mapping[Header, HeaderValue] = {}
    """What each request has: `${VARIABLE}`, or one word and that."""
    tools: list[Tool] | None = None
    """Those that may be used; without this, those that a spec names."""
    ask: list[Asked] = []
    """Those whose calls need a person's yes, whatever specs say; `*` for all."""
    shared: bool = False
    """Whether agents may use it that somebody else has written and shared."""
    start_timeout_s: float = Field(default=30, gt=0, le=600, allow_inf_nan=False)
    """How long it may take to start, or to be reached, and to list its tools."""
    call_timeout_s: float = Field(default=60, gt=0, le=3600, allow_inf_nan=False)
    result_bytes: int = Field(default=50_000, ge=1000, le=1_000_000)
    """How much text of a result an agent is given."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("a server has either a command or a url")
        if self.url is not None and self.env:
            raise ValueError("env is for a server with a command; one with a url has headers")
        if self.command is not None and self.headers:
            raise ValueError("headers are for a server with a url; one with a command has env")
        return self

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables of the environment that it needs."""
        named = (value.partition("${")[2].removesuffix("}") for value in self.headers.values())
        return tuple(dict.fromkeys([*self.env, *named]))

    def missing(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Return those of its variables that are not set."""
        return tuple(name for name in self.variables if not environ.get(name))

    def allows(self, tool: str) -> bool:
        """Say whether a tool may be used, by the server's own name for it."""
        return self.tools is None or tool in self.tools

    def asks(self, tool: str) -> bool:
        """Say whether each call of a tool needs a person's yes."""
        return tool in self.ask or ALL in self.ask


class _Named(RootModel[dict[str, Server]]):
    model_config = ConfigDict(strict=True, frozen=True)


@dataclass(frozen=True)
class Registry:
    """The servers that there are."""

    directory: Path
    """Where `servers.toml` is."""
    servers: Mapping[str, Server]

    def get(self, name: str) -> Server:
        """Return a server.

        Raises:
            NotFoundError: There is none of that name; it names the near ones.
        """
        if name not in self.servers:
            raise ServerNotFoundError(
                f"There is no MCP server {name!r}",
                name,
                known=self.servers,
                way_out=f"They are registered in {FILE}, beside models.toml.",
            )
        return self.servers[name]


def load_servers(config_dir: Path) -> Registry:
    """Read `servers.toml`; without one, there are no servers.

    Raises:
        ServerSettingsError: With file, line and key, if it cannot be used.
    """
    written = read_settings(config_dir / FILE, ServerSettingsError)
    if written is None:
        return Registry(config_dir, {})
    servers = written.read_as(_Named, _problem).root
    for place, problem in _faults(servers):
        raise written.error(problem, place)
    return Registry(config_dir, servers)


def _faults(servers: Mapping[str, Server]) -> Iterator[tuple[Place, str]]:
    for name, server in servers.items():
        if not is_name(name):
            what = "small letters and digits, with single '-' or '_' between them, at most 32"
            yield (name,), f"a server's name is {what}"
        for tool in server.tools or ():
            if len(shown_name(name, tool)) > MAX_SHOWN_CHARS:
                shown = f"its name would be {shown_name(name, tool)!r} for a model"
                yield (name, "tools"), f"{shown}, and no longer than {MAX_SHOWN_CHARS}: shorten it"
        for tool in server.ask:
            if tool != ALL and not server.allows(tool):
                yield (name, "ask"), f"{tool!r} is not among the tools that may be used"


_MEANT: Mapping[str, str] = {
    "env": "env has names of variables, whose values are never kept here",
    "headers": "a header is '${VARIABLE}', or one word and that, as in 'Bearer ${VARIABLE}'",
    "tools": "a tool's name has letters, digits and _ . - only",
    "ask": "a tool's name has letters, digits and _ . - only; '*' is all of them",
}


def _problem(kind: str, message: str, place: Place) -> str:
    """Return what is wrong in a user's words."""
    name = str(place[-1])
    if len(place) == 1 and kind in ("model_type", "model_attributes_type"):
        return "a server is a table, as [github]"
    if kind == "extra_forbidden":
        return f"there is no such setting; {known_names(name, Server.model_fields, '')}"
    if kind in ("string_pattern_mismatch", "string_type") and len(place) > 1:
        return _MEANT.get(str(place[1]), message)
    if kind == "list_type":
        return """this is a list, as ["one", "another"]"""
    return message
