"""What is made for others to install: the bundle and the registry's entry."""

import ast
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any  # JSON

import pytest

from release.bundle import ENTRY_POINT, lay_out, manifest
from release.project import pyproject, registry_name
from release.server_json import server_json

KEYS = {
    "": {"$schema", "name", "title", "description", "version", "packages"},
    "packages": {
        *("registryType", "identifier", "version", "runtimeHint", "transport"),
        *("packageArguments", "environmentVariables"),
    },
    "packageArguments": {"type", "name", "value", "description", "format", "isRequired"},
    "environmentVariables": {"name", "description", "isSecret", "isRequired"},
    "transport": {"type"},
}
"""Of the registry's schema of 2025-12-11, those that we use."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundle")
    lay_out(place)
    return place


def test_bundle_holds_what_runs_and_nothing_else(bundle: Path) -> None:
    names = {file.name for file in bundle.iterdir()}

    assert names == {
        *("manifest.json", "pyproject.toml", "serve.py", "README.md", "LICENSE"),
        *("mcp_server", "orchestrator", "agent_specs"),
    }
    assert [*bundle.rglob("__pycache__")] == []
    assert (bundle / "agent_specs/repo_guide.yaml").is_file()


def test_bundle_needs_what_the_package_needs_and_no_tools_of_developers(bundle: Path) -> None:
    theirs = tomllib.loads((bundle / "pyproject.toml").read_text())
    ours = pyproject()

    assert theirs["project"] == ours["project"]
    assert theirs["build-system"] == ours["build-system"]
    assert "dependency-groups" not in theirs
    assert [*theirs["tool"]] == ["hatch"]
    assert theirs["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [
        *("mcp_server", "orchestrator", "agent_specs")
    ]


def test_manifest_has_the_host_start_a_file_of_the_bundle_on_the_directory_that_was_chosen(
    bundle: Path,
) -> None:
    described = manifest()
    server = described["server"]

    assert (described["manifest_version"], server["type"]) == ("0.4", "uv")
    assert server["entry_point"] == ENTRY_POINT
    ast.parse((bundle / ENTRY_POINT).read_text())
    assert server["mcp_config"]["args"][-3:] == [ENTRY_POINT, "--root", "${user_config.root}"]
    assert described["user_config"]["root"]["type"] == "directory"
    assert described["user_config"]["root"]["required"] is True


def test_registry_entry_names_what_is_published() -> None:
    entry, published = server_json(), pyproject()["project"]
    (package,) = entry["packages"]

    assert (package["identifier"], package["version"]) == (published["name"], published["version"])
    assert entry["version"] == published["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", entry["version"])  # ranges are refused
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", entry["name"])
    assert entry["name"] == registry_name()  # the README has it, as proof of who owns the package
    assert max(len(entry["title"]), len(entry["description"])) <= 100


def test_registry_entry_has_no_key_that_the_registry_does_not_know() -> None:
    assert unknown_keys("", server_json()) == []


def test_arguments_of_the_registry_entry_start_the_server() -> None:
    (package,) = server_json()["packages"]
    serve, root = package["packageArguments"]

    assert (serve["type"], serve["value"]) == ("positional", "serve")
    assert (root["type"], root["name"], root["isRequired"]) == ("named", "--root", True)
    assert [each["name"] for each in package["environmentVariables"] if each.get("isSecret")] == [
        "ANTHROPIC_API_KEY"
    ]


def unknown_keys(place: str, found: Mapping[str, Any]) -> list[str]:
    unknown = [key for key in found if key not in KEYS[place]]
    for key, value in found.items():
        inner = value if isinstance(value, list) else [value]
        for each in inner:
            if isinstance(each, dict):
                unknown += unknown_keys(key, each)
    return unknown
