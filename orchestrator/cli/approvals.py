"""`workyard approvals`: what runs wait for, and a person's yes or no."""

import getpass
import json
from collections.abc import Sequence
from typing import Annotated

import anyio
import typer

import orchestrator
from orchestrator.cli.asking import show_question
from orchestrator.cli.at_work import carry_out
from orchestrator.cli.exits import reported
from orchestrator.cli.run import JsonOption, ModelOption, SpecsOption
from orchestrator.cli.sessions.opened import opened_sessions
from orchestrator.cli.sessions.running import resumed
from orchestrator.cli.terminal import stderr

app = typer.Typer(help="Calls that wait for your yes.", no_args_is_help=True)

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="The run that waits, or the one it works for.")
]
CallOption = Annotated[
    str | None, typer.Option("--call", metavar="ID", help="One call; all of the run by default.")
]
LaterOption = Annotated[
    bool, typer.Option("--later", help="Only answer: do not let the run go on now.")
]


@app.command("list")
def list_questions(as_json: JsonOption = False) -> None:
    """List the calls that wait, the oldest first, with what each would change."""
    with reported():
        questions = anyio.run(_questions)
        if as_json:
            typer.echo(json.dumps([_told(question) for question in questions]))
            return
        for question in questions:
            show_question(question)
        if not questions:
            stderr.print("No run waits.")


@app.command()
def approve(
    run: RunArgument,
    call: CallOption = None,
    later: LaterOption = False,
    model: ModelOption = None,
    specs: SpecsOption = None,
) -> None:
    """Say yes, and let the run go on once all its calls are answered."""
    top = _answered(run, call, is_approved=True)
    if top is not None and not later:
        carry_out(resumed(top, model, specs), as_json=False)


@app.command()
def deny(  # noqa: PLR0913 - each is an option of the command
    run: RunArgument,
    call: CallOption = None,
    reason: Annotated[str, typer.Option(help="What the agent is told.")] = "",
    later: LaterOption = False,
    model: ModelOption = None,
    specs: SpecsOption = None,
) -> None:
    """Say no, and let the run go on without the call once all are answered."""
    top = _answered(run, call, is_approved=False, reason=reason)
    if top is not None and not later:
        carry_out(resumed(top, model, specs), as_json=False)


async def _questions() -> Sequence["orchestrator.Question"]:
    async with opened_sessions() as sessions:
        return await sessions.questions()


def _answered(
    run_id: str, call_id: str | None, *, is_approved: bool, reason: str = ""
) -> str | None:
    """Write an answer down; return the session that can go on, if nothing is left to answer."""

    async def answered() -> str | None:
        async with opened_sessions() as sessions:
            said = orchestrator.Answer(is_approved=is_approved, by=getpass.getuser(), reason=reason)
            answered = await sessions.answer(run_id, said, call_id=call_id)
            return None if answered.left else answered.top_session_id

    with reported():
        top = anyio.run(answered)
        if top is None:
            stderr.print("Answered; other calls still wait ('workyard approvals list').")
    return top


def _told(question: "orchestrator.Question") -> dict[str, object]:
    return {
        "run_id": question.run_id,
        "top_run_id": question.top_run_id,
        "session_id": question.session_id,
        "agent": question.agent,
        "root": question.root,
        "asked_at": question.asked_at.isoformat(),
        **question.request.model_dump(mode="json", exclude={"type", "version"}),
    }
