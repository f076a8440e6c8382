"""`workyard doctor`: what works, what does not, and what to do."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

import orchestrator
from orchestrator.cli.exits import reported
from orchestrator.cli.run import JsonOption
from orchestrator.words import printable

if TYPE_CHECKING:
    from orchestrator.doctor.findings import Finding

SOMETHING_FAILED = 6


def doctor(
    root: Annotated[
        str | None, typer.Option(help="A directory to be served, and its project's settings.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check all that a host needs, from Python to the hosts' settings, and say what to do."""
    with reported():
        findings = anyio.run(_examine, root, as_json)
    has_failed = any(finding.status == "failed" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"checks": [asdict(each) for each in findings]}, indent=2))
    raise typer.Exit(SOMETHING_FAILED if has_failed else 0)


async def _examine(root: str | None, as_json: bool) -> "list[Finding]":
    findings = []
    async for finding in orchestrator.examine(root):
        findings.append(finding)
        if not as_json:
            typer.echo(_line(finding))
    return findings


def _line(finding: "Finding") -> str:
    advice = f" → {finding.advice}" if finding.advice else ""
    text = " ".join(f"{finding.check}: {finding.detail}{advice}".split())
    return printable(f"{finding.status:<8}{text}")
