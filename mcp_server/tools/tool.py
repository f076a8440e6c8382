"""What a tool is: a declaration that a model reads, and arguments that carry out the call."""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from mcp_server.errors import InvalidInputError
from mcp_server.fence.changes import Caller
from mcp_server.fence.grant import ToolName
from mcp_server.fence.workspace import Workspace
from mcp_server.text import quoted

_ALIASES = {"file_path": "path", "filePath": "path"}
"""Names that models know from other tools; taken quietly, not shown."""
_SHOWN_CHARS = 80
_MAX_COMPARED_CHARS = 100

DirectoryPath = Annotated[str, AfterValidator(lambda path: "." if path == "/" else path)]
"""A path where '/' can only mean the root of the workspace."""


class ToolArguments(BaseModel, ABC):
    """The arguments of one tool; the line under each field is its description for the model."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @abstractmethod
    async def call(self, workspace: Workspace, caller: Caller) -> str:
        """Do what was asked, on behalf of `caller`, and return the text that it reads.

        Raises:
            ServerError: the call cannot be done; the message says why and what to do.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool."""

    name: ToolName
    title: str
    description: str
    """What a model reads when it chooses."""
    arguments: type[ToolArguments]
    is_read_only: bool
    is_destructive: bool = False
    """Whether a call can overwrite something."""
    is_idempotent: bool = True
    """Whether a second equal call changes nothing more."""

    @property
    def input_schema(self) -> dict[str, Any]:  # JSON Schema is a dict of anything
        """The JSON Schema of the arguments, without what tells a model nothing."""
        schema = self.arguments.model_json_schema()
        properties = {
            name: {key: value for key, value in field.items() if _tells(key, value)}
            for name, field in schema["properties"].items()
        }
        return {
            "type": "object",
            "properties": properties,
            "required": schema.get("required", []),
            "additionalProperties": False,
        }

    def parse(self, arguments: Mapping[str, object]) -> ToolArguments:
        """Return the arguments, checked.

        Raises:
            InvalidInputError: one is unknown, missing or of the wrong kind.
        """
        known = self.arguments.model_fields
        given = dict(arguments)
        for alias, name in _ALIASES.items():
            if alias in given and name in known and name not in given:
                given[name] = given.pop(alias)
        for name in given:
            if name not in known:
                raise InvalidInputError(self._unknown(name))
        # Models send null for what they leave out.
        given = {
            name: value
            for name, value in given.items()
            if value is not None or known[name].is_required()
        }
        try:
            return self.arguments.model_validate(given)
        except ValidationError as error:
            raise InvalidInputError(self._fault(error)) from error

    def _unknown(self, name: str) -> str:
        known = list(self.arguments.model_fields)
        near = difflib.get_close_matches(name[:_MAX_COMPARED_CHARS], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        return f"Tool {self.name!r} has no argument {quoted(name)}{hint} It takes {_names(known)}."

    def _fault(self, error: ValidationError) -> str:
        fault = error.errors(include_url=False, include_context=False)[0]
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if fault["type"] == "missing":
            return f"Tool {self.name!r} needs the argument {name!r}, which is missing."
        value = fault["input"]
        given = quoted(value) if isinstance(value, str) else repr(value)
        shown = given if len(given) <= _SHOWN_CHARS else given[:_SHOWN_CHARS] + "…"
        return f"Argument {name!r} of tool {self.name!r} is {shown}: {fault['msg']}."


def _names(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _tells(key: str, value: object) -> bool:
    return key != "title" and not (key == "default" and value is None)
