"""The agents there are, in the words of the MCP server; no agent library is needed for that."""

from pathlib import Path

from mcp_server.errors import UnavailableError
from mcp_server.ports import Operator, RunnableAgent
from orchestrator.catalogue import Catalogue, open_catalogue
from orchestrator.errors import OrchestratorError, SpecError
from orchestrator.settings import load_settings


def runnable_agents(operator: Operator) -> list[RunnableAgent]:
    """Return every agent, by name; one whose spec is broken says so.

    Raises:
        UnavailableError: The agents cannot be looked for.
    """
    try:
        specs = None if operator.specs is None else Path(operator.specs)
        catalogue = open_catalogue(load_settings(), specs)
        return [_runnable(catalogue, name) for name in catalogue.names()]
    except OrchestratorError as error:
        raise UnavailableError(f"The agents cannot be listed: {error}") from error


def _runnable(catalogue: Catalogue, name: str) -> RunnableAgent:
    try:
        spec = catalogue.get(name)
    except SpecError as error:
        return RunnableAgent(name=name, description="", problem=without_place(error))
    return RunnableAgent(
        name=name,
        description=spec.document.description,
        inputs=spec.inputs,
        required=spec.required_inputs,
    )


def without_place(error: SpecError) -> str:
    """Return what is wrong with a spec, naming the file without its directory."""
    where = f"{error.file.name}:{error.line}" if error.line else error.file.name
    return (
        f"{where}: {error.field}: {error.problem}" if error.field else f"{where}: {error.problem}"
    )
