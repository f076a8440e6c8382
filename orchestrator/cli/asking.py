"""A person asked on the terminal, for calls that need a yes."""

import getpass
import sys

import anyio.to_thread
from rich.text import Text

import orchestrator
from orchestrator.cli.terminal import ago, is_terminal, stderr
from orchestrator.words import one_line, printable, told


def can_ask() -> bool:
    """Say whether somebody is there who can read a question and answer it."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def show_question(question: "orchestrator.Question") -> None:
    """Show what a run waits for, and what it would change."""
    about = f"{question.agent}, {ago(question.asked_at)}, run {question.run_id}"
    if question.top_run_id != question.run_id:
        about += f" for run {question.top_run_id}"
    stderr.print(Text(f"{about}: {one_line(question.prompt, 60)}", style="bold"))
    stderr.print(Text(printable(told(question.request) or ""), style="cyan"))
    for line in question.request.preview.splitlines():
        stderr.print(Text(f"  {printable(line)}", style=_style(line)))


async def ask_all(yard: "orchestrator.Orchestrator", run_id: str) -> bool:
    """Ask for each call that a run waits for; return whether all are answered."""
    waiting = await yard.sessions.questions(run_id)
    for question in waiting:
        show_question(question)
        said = await _asked("Allow it? [y/N, or why not] ")
        if said is None:
            return False
        is_approved = said.lower() in ("y", "yes")
        reason = "" if is_approved or said.lower() in ("", "n", "no") else said
        answer = orchestrator.Answer(is_approved=is_approved, by=getpass.getuser(), reason=reason)
        await yard.sessions.answer(question.run_id, answer, call_id=question.request.call_id)
    return bool(waiting)


async def _asked(prompt: str) -> str | None:
    """Return what is typed; None at the end of stdin."""

    def read() -> str | None:
        sys.stderr.write(prompt)
        sys.stderr.flush()
        line = sys.stdin.readline()
        return line.strip() if line else None

    return await anyio.to_thread.run_sync(read, abandon_on_cancel=True)


def _style(line: str) -> str:
    return {"+": "green", "-": "red"}.get(line[:1], "dim")
