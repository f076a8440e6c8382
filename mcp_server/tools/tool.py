"""What a tool is: a declaration that a model reads, and arguments that carry out the call."""

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from reprlib import Repr
from typing import Annotated, Any, Generic, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from mcp_server.changed import ChangedFiles, changed_files
from mcp_server.errors import InvalidInputError
from mcp_server.fence.changes.change import Caller, Outcome
from mcp_server.fence.changes.changer import ChangeRequest
from mcp_server.fence.grant import ToolName
from mcp_server.fence.workspace import Workspace
from mcp_server.text import quoted

_ALIASES = {
    "file_path": "path",
    "dir_path": "path",
    "directory": "path",
    "old_text": "old_string",
    "old_str": "old_string",
    "new_text": "new_string",
    "new_str": "new_string",
    "contents": "content",
    "file_text": "content",
    "pattern": "glob",  # where there is no other pattern
    "include": "glob",
    "regex": "pattern",
    "head": "limit",
    "head_limit": "limit",
    "max_results": "limit",
    "from": "source",
    "src": "source",
    "old_path": "source",
    "to": "destination",
    "dst": "destination",
    "new_path": "destination",
    "agent_name": "agent",
    "prompt": "task",
    "timeout_s": "wait_s",
}
"""Names that models know from other tools; taken quietly, also as `filePath`, and not shown."""
_CAPITAL = re.compile("(?<=[a-z])[A-Z]")
_SHOWN_CHARS = 80
_MAX_COMPARED_CHARS = 100
_MAX_ITEMS = 1000
"""Items of a list that are looked at: no tool takes more, and the event loop waits meanwhile."""
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHOWN_CHARS
_SHORT.maxlist = _SHORT.maxdict = _SHOWN_CHARS  # of which some characters are shown

DirectoryPath = Annotated[str, AfterValidator(lambda path: "." if path == "/" else path)]
"""A path where '/' can only mean the root of the workspace."""


@dataclass(frozen=True, slots=True)
class Media:
    """A picture or document, as the bytes that it is, with a line of text about it."""

    text: str
    path: str
    """Canonical and relative to the root."""
    mime: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Changed:
    """What a model reads of a change, and what the program is told that called."""

    text: str
    files: ChangedFiles

    def __str__(self) -> str:
        return self.text


Answer = str | Media | Changed
"""What a call gives."""


class Arguments(BaseModel):
    """The arguments of one tool; the line under each field is its description for the model."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def translated(cls, given: Mapping[str, object]) -> Mapping[str, object]:
        """Return what was given in the words of this tool, where more than a name differs."""
        return given


class ToolArguments(Arguments, ABC):
    """The arguments of a tool that works on the files of a workspace."""

    @abstractmethod
    async def call(self, workspace: Workspace, caller: Caller) -> Answer:
        """Do what was asked, on behalf of `caller`, and return what it reads.

        Raises:
            ServerError: the call cannot be done; the message says why and what to do.
        """


A_co = TypeVar("A_co", bound=Arguments, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Declaration(Generic[A_co]):
    """One tool as it is declared to a model, whatever it works on."""

    name: str
    title: str
    description: str
    """What a model reads when it chooses."""
    arguments: type[A_co]
    is_read_only: bool
    is_destructive: bool = False
    """Whether a call can overwrite something."""
    is_idempotent: bool = True
    """Whether a second equal call changes nothing more."""
    is_open_world: bool = False
    """Whether it reaches beyond this machine."""

    @property
    def input_schema(self) -> dict[str, Any]:  # JSON Schema is a dict of anything
        """The JSON Schema of the arguments, without what tells a model nothing."""
        schema = self.arguments.model_json_schema()
        return _object_schema(schema, schema.get("$defs", {}))

    def parse(self, arguments: Mapping[str, object]) -> A_co:
        """Return the arguments, checked.

        Raises:
            InvalidInputError: one is unknown, missing or of the wrong kind.
        """
        given = self._taken(self.arguments, self.arguments.translated(arguments), "")
        try:
            return self.arguments.model_validate(given)
        except ValidationError as error:
            raise InvalidInputError(self._fault(error)) from error

    def _taken(
        self, model: type[BaseModel], arguments: Mapping[str, object], where: str
    ) -> dict[str, object]:
        """Return what was given by its names in `model`, which may be that of an item."""
        known = model.model_fields
        given: dict[str, object] = {}
        for said, value in arguments.items():
            name = said if said in known else _own_name(said)
            if name not in known or name in given or (name != said and name in arguments):
                raise InvalidInputError(self._unknown(said, list(known), where))
            given[name] = value
        # Models send null for what they leave out.
        given = {
            name: value
            for name, value in given.items()
            if value is not None or known[name].is_required()
        }
        for name in given:
            item = _item_model(known[name].annotation)
            if item is not None:
                given[name] = self._taken_items(item, name, given[name])
        return given

    def _taken_items(self, item: type[BaseModel], name: str, value: object) -> object:
        if isinstance(value, str):  # models send lists as JSON text now and then
            with suppress(ValueError):
                value = from_json(value)
        if not isinstance(value, list) or len(value) > _MAX_ITEMS:
            return value
        return [
            self._taken(item, each, _in_item(number, name)) if isinstance(each, dict) else each
            for number, each in enumerate(value)
        ]

    def _unknown(self, name: str, known: list[str], where: str) -> str:
        near = difflib.get_close_matches(name[:_MAX_COMPARED_CHARS], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        return (
            f"Tool {self.name!r} has no argument {quoted(name)}{where}{hint} It takes "
            f"{_names(known)}."
        )

    def _fault(self, error: ValidationError) -> str:
        fault = error.errors(include_url=False, include_context=False)[0]
        place = fault["loc"]
        name, where = str(place[0]) if place else "", ""
        if len(place) > 1 and isinstance(place[1], int):
            where = _in_item(place[1], name)
            name = str(place[-1]) if len(place) > 2 else ""
        what = f"{name!r}{where}" if name else where.removeprefix(" in ")
        if fault["type"] == "missing":
            return f"Tool {self.name!r} needs the argument {what}, which is missing."
        value = fault["input"]
        given = quoted(value) if isinstance(value, str) else _SHORT.repr(value)
        shown = given if len(given) <= _SHOWN_CHARS else given[:_SHOWN_CHARS] + "…"
        return f"Argument {what} of tool {self.name!r} is {shown}: {fault['msg']}."


@dataclass(frozen=True, kw_only=True)
class Tool(Declaration[ToolArguments]):
    """One tool that works on the files of a workspace."""

    name: ToolName


async def make_change(
    workspace: Workspace, request: ChangeRequest, caller: Caller, show: Callable[[Outcome], str]
) -> Changed:
    """Do what is asked, or nothing, and return what `show` says of it, with what was changed.

    Raises:
        ServerError: whatever `Workspace.change` raises.
    """
    grant = workspace.grant
    return await workspace.change(
        request,
        caller,
        lambda outcome: Changed(show(outcome), changed_files(outcome, grant)),
    )


def _in_item(index: int, name: str) -> str:
    return f" in item {index + 1} of {name!r}"


def _item_model(annotation: object) -> type[BaseModel] | None:
    """Return what the items of a list are, if they have arguments of their own."""
    (item, *_) = (*get_args(annotation), None)
    return item if isinstance(item, type) and issubclass(item, BaseModel) else None


# JSON Schema is a dict of anything.
def _object_schema(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            name: _field_schema(field, definitions) for name, field in schema["properties"].items()
        },
        "required": schema.get("required", []),
        "additionalProperties": False,
    }


def _field_schema(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    told = {key: value for key, value in field.items() if _tells(key, value)}
    if "$ref" in field.get("items", {}):  # hosts are known to drop what a schema refers to
        item = field["items"]["$ref"].removeprefix("#/$defs/")
        told["items"] = _object_schema(definitions[item], definitions)
    return told


def _own_name(said: str) -> str:
    """Return the name that an argument has here, if models know it by another one.

    >>> _own_name("oldText"), _own_name("dryRun"), _own_name("path")
    ('old_string', 'dry_run', 'path')
    """
    name = _CAPITAL.sub(lambda capital: "_" + capital[0].lower(), said)
    return _ALIASES.get(name, name)


def _names(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _tells(key: str, value: object) -> bool:
    return key != "title" and not (key == "default" and value is None)
