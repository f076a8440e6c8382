"""Every way by which a path reaches the fence, one line each: a new tool adds its lines here."""

from collections.abc import Mapping
from dataclasses import dataclass

from mcp_server.errors import ServerError
from mcp_server.fence.changes.change import Caller
from mcp_server.fence.workspace import Workspace
from mcp_server.tools.registry import TOOLS

PATH = "<path>"
"""Stands in the arguments for the path that is tried."""
NEEDLE = "secret"
"""What the files outside hold, and searches and edits look for."""

NOT_PATHS = {
    "content", "pattern", "glob", "offset", "limit", "depth", "ignore_case", "literal", "context",
    "output", "old_string", "new_string", "replace_all", "expected_hash", "dry_run", "recursive",
    "newest_first", "sort", "include_ignored", "no_ignore", "ignored", "hidden", "max_results",
}  # fmt: skip
"""Parameters that name no place; a parameter in neither table fails a test."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One parameter of one tool, with what else the call needs."""

    tool: str
    arguments: Mapping[str, object]
    acts_on_link: bool = False
    """Whether a link at the end of the path is what is moved or deleted, not what it leads to."""
    collects: bool = False
    """Whether a refusal is part of an answer about several files."""
    walks_by_name: bool = False
    """Whether ripgrep walks a directory: what is exchanged below, Landlock alone keeps it from."""

    def __str__(self) -> str:
        return f"{self.tool}-{self.parameter}"

    @property
    def parameter(self) -> str:
        """The name of the parameter that takes the path."""
        return next(name for name, value in self.arguments.items() if PATH in str(value))

    def at(self, path: str) -> Mapping[str, object]:
        """Return the arguments of a call about `path`."""
        return {name: _filled(value, path) for name, value in self.arguments.items()}


_EDIT = {"path": PATH, "old_string": NEEDLE, "new_string": "edited"}

_ALL = (
    Operation("read_file", {"path": PATH}),
    Operation("read_files", {"paths": [PATH]}, collects=True),
    Operation("write_file", {"path": PATH, "content": "written"}),
    Operation("edit_file", _EDIT),
    Operation("apply_edits", {"edits": [_EDIT]}),
    Operation("list_directory", {"path": PATH, "depth": 3}),
    Operation("find_files", {"glob": "**/*", "path": PATH}, walks_by_name=True),
    Operation("grep", {"pattern": NEEDLE, "path": PATH}, walks_by_name=True),
    Operation("file_info", {"path": PATH}, acts_on_link=True),
    Operation("make_directory", {"path": PATH}),
    Operation("move_path", {"source": PATH, "destination": "moved"}, acts_on_link=True),
    Operation("move_path", {"source": "docs/guide.md", "destination": PATH}, acts_on_link=True),
    Operation("delete_path", {"path": PATH, "recursive": True}, acts_on_link=True),
)

OPERATIONS = tuple(each for each in _ALL if each.tool in TOOLS)
"""Those of the tools that there are."""


async def answer(workspace: Workspace, operation: Operation, path: str) -> str | ServerError:
    """Return what the tool says about `path`, or its refusal."""
    return await called(workspace, operation.tool, operation.at(path))


async def called(
    workspace: Workspace, name: str, arguments: Mapping[str, object]
) -> str | ServerError:
    """Return the answer of the tool `name`, or its refusal."""
    tool = next(tool for tool in TOOLS.values() if tool.name == name)
    try:
        return str(await tool.parse(arguments).call(workspace, Caller()))
    except ServerError as error:
        return error


def _filled(value: object, path: str) -> object:
    if isinstance(value, list):
        return [_filled(each, path) for each in value]
    if isinstance(value, dict):
        return {name: _filled(each, path) for name, each in value.items()}
    return path if value == PATH else value
