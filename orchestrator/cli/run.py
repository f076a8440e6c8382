"""`workyard run` and `workyard ask`: an agent works, and one can watch."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import orchestrator
from orchestrator.catalogue import open_catalogue
from orchestrator.cli.at_work import Work, carry_out
from orchestrator.cli.exits import reported
from orchestrator.cli.terminal import stderr
from orchestrator.errors import ModelNotConfiguredError
from orchestrator.lifecycle import WhenBusy
from orchestrator.models.choice import choose_model
from orchestrator.models.providers import OFFLINE
from orchestrator.models.user_settings import load_model_settings
from orchestrator.settings import load_settings

RootOption = Annotated[
    str, typer.Option("--root", help="The directory the agent works in; nothing outside it.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="provider:model, an alias of yours, or 'offline', which is no language model.",
    ),
]
SpecsOption = Annotated[
    Path | None, typer.Option("--specs", help="A directory of your own agent specs.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")
]

GUIDE = "repo_guide"
"""The agent that answers `workyard ask`."""


@dataclass(frozen=True, kw_only=True)
class _Order:
    agent: str
    prompt: str
    root: str
    specs: Path | None = None
    model: str | None = None
    inputs: tuple[str, ...] = ()
    session_id: str | None = None
    go_on: bool = False
    when_busy: WhenBusy = "reject"
    wait_s: float = 600.0


def run(  # noqa: PLR0913 - each is an option of the command
    agent: Annotated[str, typer.Argument(help="The agent's name; see 'workyard agents list'.")],
    prompt: Annotated[str, typer.Argument(help="What to do.")],
    root: RootOption = ".",
    model: ModelOption = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=VALUE", help="An input of the agent; repeatable."),
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="Go on in this session.")
    ] = None,
    go_on: Annotated[
        bool,
        typer.Option("--continue", help="Go on in the latest session of this agent and root."),
    ] = False,
    when_busy: Annotated[
        WhenBusy, typer.Option(help="What to do if another run holds the session.")
    ] = "reject",
    wait_s: Annotated[
        float,
        typer.Option("--wait", metavar="SECONDS", min=0, help="How long to stand in line (queue)."),
    ] = 600.0,
    specs: SpecsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run an agent in a directory, and record what it does."""
    if session and go_on:
        raise typer.BadParameter("name a session or say --continue, not both.")
    order = _Order(
        agent=agent,
        prompt=prompt,
        root=root,
        specs=specs,
        model=model,
        inputs=tuple(given or ()),
        session_id=session,
        go_on=go_on,
        when_busy=when_busy,
        wait_s=wait_s,
    )
    _carry_out(order, as_json=as_json)


def ask(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    root: RootOption = ".",
    model: ModelOption = None,
) -> None:
    """Ask about the files in a directory, with whatever model there is; offline if none."""
    with reported():
        order = _Order(agent=GUIDE, prompt=question, root=root, model=model or _any_model())
    _carry_out(order, as_json=False)


def _any_model() -> str:
    settings = load_settings()
    spec = open_catalogue(settings).get(GUIDE)
    known = load_model_settings(settings.config_dir)
    try:
        choice = choose_model(
            None,
            configured=settings.model,
            spec_model=spec.document.model,
            known=known,
            environ=os.environ,
        )
    except ModelNotConfiguredError:
        if settings.model is not None or known.default is not None:
            raise
        stderr.print("No key is set: this is the offline model, which is no language model.")
        return OFFLINE
    stderr.print(f"This will use {choice.name}: {choice.reason}.")
    return choice.name


def _carry_out(order: _Order, *, as_json: bool) -> None:
    opened = partial(orchestrator.Orchestrator.open, order.root, specs=order.specs)
    carry_out(Work(opened, partial(_start, order=order)), as_json=as_json)


async def _start(yard: "orchestrator.Orchestrator", *, order: _Order) -> "orchestrator.RunHandle":
    session_id = order.session_id
    spec = await yard.agents.get(order.agent)
    if order.go_on:
        latest = await yard.sessions.latest_of(agent=spec.name, root=str(yard.root))
        session_id = latest.id
    inputs = spec.read_inputs(order.inputs)
    if session_id is not None and order.when_busy == "queue":
        await _say_who_holds(yard, session_id)
    handle = await yard.start(
        order.agent,
        order.prompt,
        inputs=inputs,
        model=order.model,
        session_id=session_id,
        when_busy=order.when_busy,
        wait_s=order.wait_s,
    )
    if session_id not in (None, handle.claimed.session_id):
        stderr.print(f"Session {session_id} is busy: this is a fork of it.")
    return handle


async def _say_who_holds(yard: "orchestrator.Orchestrator", session_id: str) -> None:
    holder = await yard.sessions.holder(session_id)
    if holder is not None:
        stderr.print(f"The session is busy with run {holder}: waiting.")
