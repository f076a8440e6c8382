"""The entry of the MCP registry: how anybody's host starts Workyard from PyPI.

Source: the registry's schema of 2025-12-11; `tests/test_release.py` holds its rules.
"""

from typing import Any  # JSON

from release.project import SUMMARY, project, registry_name

SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"


def server_json() -> dict[str, Any]:
    """Return the entry."""
    name, version = project()["name"], project()["version"]
    return {
        "$schema": SCHEMA,
        "name": registry_name(),
        "title": "Workyard",
        "description": SUMMARY,
        "version": version,
        "packages": [
            {
                "registryType": "pypi",
                "identifier": name,
                "version": version,
                "runtimeHint": "uvx",
                "transport": {"type": "stdio"},
                "packageArguments": [
                    {"type": "positional", "value": "serve"},
                    {
                        "type": "named",
                        "name": "--root",
                        "description": "The directory that is served, and nothing outside it.",
                        "format": "filepath",
                        "isRequired": True,
                    },
                ],
                "environmentVariables": [
                    {
                        "name": "WORKYARD_MODEL",
                        "description": "The model of agents that are run, as provider:model.",
                    },
                    {
                        "name": "ANTHROPIC_API_KEY",
                        "description": "A key, if agents are to be run; other providers' do too.",
                        "isSecret": True,
                    },
                ],
            }
        ],
    }
