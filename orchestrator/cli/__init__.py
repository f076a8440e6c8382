"""The command line: parse, call, print, exit code."""

import sys


def main() -> None:
    """Run the `workyard` command."""
    if sys.argv[1:2] == ["serve"]:
        # A host starts the server at every launch and waits for it: not even typer is imported.
        from mcp_server.__main__ import main as serve

        sys.exit(serve(sys.argv[2:], program="workyard serve"))
    from orchestrator.cli.app import app

    app()
