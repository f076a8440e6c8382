"""The command line: parse, call, print, exit code."""

import os
import sys

STOPPED = 130
UNAVAILABLE = 6


def main() -> None:
    """Run the `workyard` command."""
    if sys.argv[1:2] == ["serve"]:
        # A host starts the server at every launch and waits for it: not even typer is imported,
        # and the first questions are answered before anything is.
        from mcp_server.front import Front

        front = Front.opened("workyard serve", sys.argv[2:])

        from mcp_server.command import main as serve
        from orchestrator.serving import Yard

        sys.exit(serve(sys.argv[2:], program="workyard serve", embedder=Yard(), front=front))
    # Pydantic AI would print an advertisement into the first run on a terminal.
    os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")
    try:
        from orchestrator.cli.app import app

        app()
    except KeyboardInterrupt:  # while modules are being imported
        _leave("Stopped.", STOPPED)
    except OSError as error:  # those of files and of the record are translated where they arise
        _leave(f"The output cannot be written: {error.strerror}.", UNAVAILABLE)


def _leave(message: str, code: int) -> None:
    try:
        os.write(2, f"workyard: {message}\n".encode())
    finally:
        os._exit(code)  # whatever is buffered for a broken output would fail once more
