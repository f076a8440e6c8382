"""`workyard usage`: what runs have used, as a table; on a terminal, with bars beside it."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import anyio
import typer
from rich.table import Table
from rich.text import Text

import orchestrator
from orchestrator.cli.exits import reported
from orchestrator.cli.terminal import stdout
from orchestrator.errors import InvalidInputError, StoreUnavailableError
from orchestrator.settings import load_settings
from orchestrator.totals import By, Total, UsageFilters, sum_of
from orchestrator.words import in_line

MIN_BAR = 8
"""Columns of a terminal that bars need; where fewer are left, there are none."""

_UNITS = {"d": "days", "h": "hours", "min": "minutes"}
_EIGHTHS = "▏▎▍▌▋▊▉█"
_COLUMNS = ("runs", "requests", "tool calls", "tokens in", "cached", "tokens out", "cost")

When = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="A day as 2026-11-23 (UTC), a time, or 7d, 12h, 30min ago."),
]


def usage(  # noqa: PLR0913 - each is an option of the command
    by: Annotated[By, typer.Option(help="What is counted together.")] = By.DAY,
    since: When = None,
    until: When = None,
    agent: Annotated[str | None, typer.Option(help="Only runs of this agent.")] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Only runs in it.")] = None,
    model: Annotated[str | None, typer.Option(help="Only runs that began with this model.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")
    ] = False,
) -> None:
    """Show what runs have used: requests, tool calls, tokens, and cost where it is known.

    A run counts on the day on which it began, in UTC, and by model with the one with which it
    began; what a stand-in has answered, or a model that it went on with, counts there. One that
    goes on counts with what is on record of it.
    """
    with reported():
        now = datetime.now(UTC)
        which = UsageFilters(
            since=_moment(since, now),
            until=_moment(until, now),
            agent=agent,
            session=session,
            model=model,
        )
        totals = anyio.run(_read, by, which)
        everything = sum_of(totals, "all")
        everything = replace(
            everything, unpriced_runs=min(everything.unpriced_runs, everything.runs)
        )
        if as_json:
            found = {"by": by, "totals": totals, "all": everything}
            typer.echo(json.dumps(found, default=_plain))
        else:
            _show(by, totals, everything)
        if everything.damaged_runs:
            raise StoreUnavailableError(
                f"Damaged, and in no figure here: run {', '.join(everything.damaged_runs)}. "
                "`workyard usage --by session` shows in which sessions; put the rows right or "
                "delete these."
            )


async def _read(by: By, which: UsageFilters) -> tuple[Total, ...]:
    async with orchestrator.open_store(load_settings().effective_database_url) as store:
        return await store.sessions.usage(by, **which)


def _moment(text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    try:
        if ago := re.fullmatch(r"([0-9]{1,6})(d|h|min)", text):
            number, unit = ago.groups()
            return now - timedelta(**{_UNITS[unit]: int(number)})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"{text!r} is no time: write a day as 2026-11-23, a time as 2026-11-23T14:00+01:00, "
            "or how long ago as 7d, 12h or 30min."
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _plain(value: object) -> object:
    if isinstance(value, Total):
        return asdict(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} is not expected here")


def _show(by: By, totals: Sequence[Total], everything: Total) -> None:
    rows = [_cells(total) for total in totals]
    if len(totals) != 1:
        rows.append(_cells(everything))
    lengths = [max(map(len, column)) for column in zip((by, *_COLUMNS), *rows, strict=True)]
    room = stdout.width - sum(lengths) - 2 * len(lengths)
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column(by, overflow="fold", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right", overflow="fold")
    if not stdout.is_terminal or room < MIN_BAR:
        for cells in rows:
            table.add_row(*map(Text, cells))
    else:
        what, amounts = _measured(totals)
        table.add_column(what, no_wrap=True)
        bars = [*_bars(amounts, room, plain=stdout.options.ascii_only), ""]
        for cells, bar in zip(rows, bars, strict=False):
            table.add_row(*map(Text, cells), Text(bar, style="cyan"))
    stdout.print(table)
    if any(total.requests and not total.runs for total in totals):
        stdout.print(
            "\nRuns and tool calls count with the model with which a run began; requests, tokens "
            "and cost with the one that has answered."
        )
    if everything.unpriced_runs:
        stdout.print(
            f"\nNo price is known for {everything.unpriced_runs:,} of {everything.runs:,} runs; "
            "what they cost is in no figure here.",
        )


def _cells(total: Total) -> tuple[str, ...]:
    numbers = (
        total.runs,
        total.requests,
        total.tool_calls,
        total.input_tokens,
        total.cache_read_tokens,
        total.output_tokens,
    )
    return (in_line(total.of), *(f"{number:,}" for number in numbers), _cost(total))


def _cost(total: Total) -> str:
    """Return a cost that is never less than it says.

    >>> _cost(Total(of="", runs=3, cost=Decimal("0.5"), unpriced_runs=1))
    '$0.5000 + ?'
    """
    if total.cost is None:
        is_nothing = not (total.runs or total.requests or total.damaged_runs)
        return "$0.0000" if is_nothing else "unknown"
    return f"${total.cost:,.4f}" + (" + ?" if total.unpriced_runs or total.damaged_runs else "")


def _measured(totals: Sequence[Total]) -> tuple[str, list[Decimal]]:
    """Return what the bars show: costs if there are any, else tokens, else requests."""
    costs = [total.cost or Decimal() for total in totals]
    if any(costs):
        return "cost", costs
    tokens = [Decimal(total.input_tokens + total.output_tokens) for total in totals]
    if any(tokens):
        return "tokens", tokens
    return "requests", [Decimal(total.requests) for total in totals]


def _bars(amounts: Iterable[Decimal], width: int, *, plain: bool) -> list[str]:
    """Return a bar for each amount; the longest is `width` columns long.

    >>> _bars([Decimal(4), Decimal(1), Decimal(0)], 2, plain=False)
    ['██', '▌', '']
    """
    values = list(amounts)
    largest = max(values, default=Decimal()) or Decimal(1)
    full = [int((value * width * 8 / largest).to_integral_value()) for value in values]
    # What is little is not nothing.
    eighths = [max(n, 1) if value else 0 for n, value in zip(full, values, strict=True)]
    if plain:
        return ["#" * -(-n // 8) for n in eighths]
    return ["█" * (n // 8) + _EIGHTHS[n % 8 - 1 : n % 8] for n in eighths]
