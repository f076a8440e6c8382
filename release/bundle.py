"""The bundle (.mcpb): the sources and a manifest, for hosts that install with a click.

The host brings uv, which makes an environment from pyproject.toml at the first start, so that one
bundle serves every system. What only developers need is left out of that file: uv would install it.
Source: MANIFEST.md of the MCPB project, manifest 0.4.
"""

import json
import shutil
from pathlib import Path
from typing import Any  # JSON

import tomlkit

from release.project import REPOSITORY, SUMMARY, project

_CONTENT = ("README.md", "LICENSE", "mcp_server", "orchestrator", "agent_specs")
_FOR_DEVELOPERS = ("dependency-groups", "tool")
ENTRY_POINT = "serve.py"

_SERVE = '''\
"""Serve a directory: what the manifest has the host start."""

import sys

from orchestrator.cli import main

sys.argv[1:1] = ["serve"]
main()
'''


def manifest() -> dict[str, Any]:
    """Return the manifest."""
    described = project()
    return {
        "manifest_version": "0.4",
        "name": described["name"],
        "display_name": "Workyard",
        "version": described["version"],
        "description": SUMMARY,
        "long_description": described["description"],
        "author": {"name": "The Workyard authors"},
        "license": described["license"],
        "keywords": described["keywords"],
        "server": {
            "type": "uv",
            "entry_point": ENTRY_POINT,
            "mcp_config": {
                "command": "uv",
                "args": [
                    *("run", "--directory", "${__dirname}", ENTRY_POINT),
                    *("--root", "${user_config.root}"),
                ],
            },
        },
        "tools_generated": True,
        "prompts_generated": True,
        "user_config": {
            "root": {
                "type": "directory",
                "title": "Directory",
                "description": "What agents may read and change; nothing outside it.",
                "required": True,
            }
        },
        "compatibility": {
            "platforms": ["darwin", "linux"],
            "runtimes": {"python": described["requires-python"]},
        },
    }


def lay_out(place: Path) -> None:
    """Put into an empty directory what the bundle holds."""
    for name in _CONTENT:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place / name)
    _write(place / ENTRY_POINT, _SERVE)
    _write(place / "manifest.json", json.dumps(manifest(), indent=2) + "\n")
    _write(place / "pyproject.toml", _pyproject_of_users())


def _pyproject_of_users() -> str:
    document = tomlkit.parse((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    packages = document["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"].unwrap()
    for name in _FOR_DEVELOPERS:
        del document[name]
    document["tool"] = {"hatch": {"build": {"targets": {"wheel": {"packages": packages}}}}}
    return tomlkit.dumps(document)


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
