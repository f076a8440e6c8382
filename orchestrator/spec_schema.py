"""The JSON schema of a spec file, for editors: completion and faults while one writes."""

from typing import Any  # what JSON holds

from pydantic_ai import AgentSpec

from orchestrator.capabilities import CAPABILITIES
from orchestrator.specs import SpecDocument


def editor_schema() -> dict[str, Any]:
    """Return what a spec file may hold: Pydantic AI's keys and capabilities, and ours.

    It is narrower than what Pydantic AI takes, as `SpecDocument` is; what it lets pass is not yet
    sound, which `workyard agents validate` says.
    """
    schema = AgentSpec.model_json_schema_with_capabilities(CAPABILITIES)
    ours = SpecDocument.model_json_schema(by_alias=True)
    for name in ours["required"]:
        schema["properties"][name] = ours["properties"][name]
    schema["required"] = ours["required"]
    schema["title"] = "Agent spec"
    schema["description"] = "An agent of Workyard: a Pydantic AI AgentSpec, read strictly."
    return schema
