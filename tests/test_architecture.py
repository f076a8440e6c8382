"""The tree's rules, held by the tree: which way imports point, and how large things may grow."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("mcp_server", "orchestrator")

LAYERS = {
    "mcp_server": (
        ("errors", "text", "settings", "remembered"),
        ("fence", "pipes", "wire", "front"),
        ("changed", "calls"),
        ("ports",),
        ("tools", "callers", "failures", "prompts", "reports", "sampling", "asking"),
        ("agent_tools",),
        ("resources",),
        ("completion", "notices"),
        ("handlers",),
        ("opening",),
        ("server", "stdio"),
        ("http",),
        ("command",),
        ("__main__",),
    ),
    "orchestrator": (
        ("errors", "ids", "garbage", "record_url", "settings", "roots", "offline", "spec_source"),
        ("settings_file",),
        ("lifecycle", "models"),
        ("responses", "totals", "fitting", "schemas", "install"),
        ("events", "specs", "session", "state", "trust", "definition", "owners"),
        ("catalogue", "store", "history", "words", "formats", "reach"),
        ("adapter",),
        ("transcripts",),
        ("connections", "compaction", "session_state", "client_model", "teams"),
        ("approvals", "budget"),
        ("servers",),
        ("orders", "runnable"),
        ("capabilities", "harness"),
        ("agents", "amends", "chain", "noted", "recorder", "resumption", "failures"),
        ("definitions", "spec_schema", "validation"),
        ("runner",),
        ("busy", "replay", "once", "doctor", "probing"),
        ("delegation", "mapping"),
        ("requests",),
        ("bootstrap",),
        ("evaluation",),
        ("host_errors",),
        ("running", "plain_script"),
        ("late",),
        ("serving",),
        ("cli",),
    ),
}
"""From what knows nothing of the others to what knows them all; a layer may import itself."""

FENCE_FOLDERS = ("texts", "finding", "reading", "changes")
"""Each knows only those before it; the modules beside them are for all."""

MAY_IMPORT_THE_SERVER = {
    "history",
    "doctor",
    "connections",
    "capabilities",
    "approvals",
    "servers",
    "host_errors",
    "adapter",
    "transcripts",
    *("reach", "validation"),  # what a spec grants, beside what its operator does
    *("serving", "client_model", "runnable", "running", "late", "owners"),  # what it is offered
}
"""The only modules of the orchestrator that import `mcp_server`, apart from the seam of `serve`."""

LAZY_SEAMS = {
    "orchestrator/cli/__init__.py",
    "orchestrator/late.py",
    "orchestrator/store/schema.py",
    "mcp_server/command.py",
}
"""The only files that import inside a function; each says why."""

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50


def sources() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((REPOSITORY / package).rglob("*.py"))]


def name_of(file: Path) -> str:
    return file.relative_to(REPOSITORY).as_posix()


def part_of(file: Path) -> tuple[str, str]:
    """Return a file's package and the module or folder in it that it belongs to."""
    package, *rest = file.relative_to(REPOSITORY).with_suffix("").parts
    return package, rest[0]


def imported(file: Path) -> Iterator[tuple[str, str]]:
    """Yield package and part of each module of ours that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        for module in modules:
            package, *rest = module.split(".")
            if package in PACKAGES and rest:
                yield package, rest[0]


@pytest.mark.parametrize("file", sources(), ids=name_of)
def test_imports_point_one_way(file: Path) -> None:
    package, part = part_of(file)
    rank = {name: index for index, layer in enumerate(LAYERS[package]) for name in layer}
    if part == "__init__":  # the public names of the package
        return

    assert part in rank, f"{part} has no layer yet"
    for other_package, other in imported(file):
        if other_package == package and other in rank:
            assert rank[other] <= rank[part], f"{part} must not import {other}"


@pytest.mark.parametrize("folder", FENCE_FOLDERS)
def test_folders_of_the_fence_import_one_way(folder: str) -> None:
    later = FENCE_FOLDERS[FENCE_FOLDERS.index(folder) + 1 :]
    files = sorted((REPOSITORY / "mcp_server/fence" / folder).glob("*.py"))
    text = "".join(file.read_text(encoding="utf-8") for file in files)

    assert "mcp_server.fence" in text
    assert not [other for other in later if f"from mcp_server.fence.{other}" in text]


@pytest.mark.parametrize("file", sources(), ids=name_of)
def test_server_stands_alone_and_is_reached_through_one_door(file: Path) -> None:
    package, part = part_of(file)
    others = {name for name, _ in imported(file)} - {package}

    if package == "mcp_server":
        assert not others
    elif part not in MAY_IMPORT_THE_SERVER and name_of(file) not in LAZY_SEAMS:
        assert "mcp_server" not in others


@pytest.mark.parametrize("file", sources(), ids=name_of)
def test_imports_stand_at_the_top(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = [
        node.lineno
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]

    assert not inside or name_of(file) in LAZY_SEAMS


@pytest.mark.parametrize("file", sources(), ids=name_of)
def test_modules_and_functions_stay_small(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    lengths = {
        node.name: body[-1].end_lineno - body[0].lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for body in [_without_docstring(node)]
        if body and body[-1].end_lineno is not None
    }

    assert len(text.splitlines()) <= MAX_MODULE_LINES
    assert {name for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == set()


def _without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    return node.body[1:] if ast.get_docstring(node) is not None else node.body


FILE_CALLS = {"open", "scandir", "listdir", "rename", "replace", "unlink", "mkdir", "readlink"}


def test_files_under_the_root_are_touched_in_the_fence_alone() -> None:
    """A path that was checked as text and is then opened by name can be exchanged in between."""
    touching = {
        name_of(file)
        for file in sources()
        if part_of(file)[0] == "mcp_server"
        and part_of(file)[1] not in ("fence", "remembered")  # the latter: never below the root
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in FILE_CALLS
    }

    assert touching == set()
