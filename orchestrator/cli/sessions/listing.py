"""`workyard sessions list`: those that fit, page by page."""

import json
import os
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import anyio
import typer

from orchestrator.cli.exits import reported
from orchestrator.cli.run import JsonOption
from orchestrator.cli.sessions.opened import opened_sessions
from orchestrator.cli.terminal import ago, print_table, stderr, write
from orchestrator.session import DamagedSession, Filters, Page, Session, SessionStatus
from orchestrator.words import one_line

_UNITS = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str) -> datetime:
    """Return the time that is meant: a date, a date with a time, or how long ago.

    What has no time zone is local time.

    >>> moment("2026-11-23T01:42:32+01:00").astimezone(UTC).isoformat()
    '2026-11-23T00:42:32+00:00'
    """
    if match := re.fullmatch(r"(\d{1,4})(min|h|d|w)", text):
        return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no time; write 2026-11-23, 2026-11-23T14:00 or, for how long ago, 30min, "
            "12h, 7d or 2w."
        ) from None


def list_sessions(  # noqa: PLR0913 - each is an option of the command
    agent: Annotated[str | None, typer.Option(help="Those of this agent.")] = None,
    root: Annotated[str | None, typer.Option(help="Those about this directory.")] = None,
    owner: Annotated[str | None, typer.Option(help="Those of this owner.")] = None,
    status: Annotated[
        SessionStatus | None, typer.Option(help="Those at work now, or the others.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=moment, metavar="TIME", help="Active then or later: 2026-11-23, 12h, 7d."
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="Active last before then."),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="All of these in title, prompts or answers."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    cursor: Annotated[
        str | None, typer.Option(help="Go on where a list ended, which has said this.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the sessions that were active last."""
    with reported():
        which = Filters(agent=agent, status=status, since=since, until=until, search=search)
        if root is not None:
            which["root"] = os.path.realpath(os.path.expanduser(root))  # it need not be there now
        page = anyio.run(_page, owner, which, limit, cursor)
        if as_json:
            write(json.dumps(_as_json(page)) + "\n")
        else:
            _print(page)


async def _page(owner: str | None, which: Filters, limit: int, cursor: str | None) -> Page:
    """Return as many sessions as were asked for, from as many pages as that takes."""
    found: list[Session] = []
    damaged: list[DamagedSession] = []
    async with opened_sessions() as sessions:
        if owner is not None:
            sessions = sessions.of(owner)
        while True:
            page = await sessions.list(limit=limit - len(found), cursor=cursor, **which)
            found += page.sessions
            damaged += page.damaged
            cursor = page.cursor
            if cursor is None or len(found) == limit:
                return Page(tuple(found), cursor, tuple(damaged))


def _as_json(page: Page) -> dict[str, object]:
    rows = [
        {
            **asdict(session),
            "created_at": session.created_at.isoformat(),
            "updated_at": session.updated_at.isoformat(),
        }
        for session in page.sessions
    ]
    damaged = [asdict(session) for session in page.damaged]
    return {"sessions": rows, "damaged": damaged, "cursor": page.cursor}


def _print(page: Page) -> None:
    if not page.sessions and not page.damaged:
        stderr.print("No such session is on record.")
    elif page.sessions:
        rows = ((s.id, s.agent, _active(s), one_line(s.title, 60)) for s in page.sessions)
        print_table(("session", "agent", "active", "title"), rows)
    for damaged in page.damaged:
        line = f"Session {damaged.id} is damaged and not shown: {damaged.problem}."
        stderr.print(one_line(line, 300))
    if page.cursor is not None:
        stderr.print(f"There are more: --cursor {page.cursor}")


def _active(session: Session) -> str:
    if session.status is SessionStatus.RUNNING:
        return "running"
    return ago(session.updated_at)
