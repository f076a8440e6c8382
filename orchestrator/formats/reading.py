"""A file of any format that is known → a spec's values, and what could not be taken along."""

from pathlib import Path

from orchestrator.formats.claude import read_claude
from orchestrator.formats.converted import Conversion
from orchestrator.formats.older import convert, is_older
from orchestrator.formats.vscode import read_vscode
from orchestrator.spec_source import lines_of_json, parse, parse_json
from orchestrator.specs import read_text

SUFFIXES = (".yaml", ".yml", ".json", ".md")
"""Of files that can be read."""

_SCHEMA = "$schema"


def read_agent(file: Path) -> Conversion:
    """Return what a file says an agent is, as a spec's values; nothing of it is checked yet.

    Markdown is of VS Code if it is called `*.agent.md`, or lies in `.github/agents`, and of Claude
    Code otherwise. YAML and JSON are a spec, or the older shape.

    Raises:
        SpecError: If it cannot be read, or is none of these.
    """
    text = read_text(file)
    if file.suffix.lower() == ".md":
        is_vscode = file.name.lower().endswith((".agent.md", ".chatmode.md"))
        below_github = file.absolute().parts[-3:-1] == (".github", "agents")
        read = read_vscode if is_vscode or below_github else read_claude
        return read(text, file).without_lines()
    if file.suffix.lower() == ".json":
        values, lines = parse_json(text, file), lines_of_json(text)
    else:
        values, lines = parse(text, file)
    conversion = Conversion(file, lines)
    if is_older(values):
        convert(values, conversion)
        return conversion.without_lines()
    conversion.values = {key: value for key, value in values.items() if key != _SCHEMA}
    if _SCHEMA in values:
        conversion.note((_SCHEMA,), "it is for editors of the file; a definition has none.")
    return conversion
