"""The ledger of calls: which were made, and what became of each.

A provider numbers its calls, and may give a number twice. The ledger has the first; of the others
messages and events tell, which then hold their results themselves.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any  # what columns hold

from pydantic_ai.messages import ToolReturnPart
from sqlalchemy import bindparam, update

from orchestrator.events import ToolCalled, ToolReturned
from orchestrator.store.claimed import Additions, ClaimedRun
from orchestrator.store.messages import call_key, dump_result, short_result
from orchestrator.store.prepared import Prepared
from orchestrator.store.tables import TOOL_CALL
from orchestrator.store.writer import Transaction

_ANSWERED = Prepared(
    update(TOOL_CALL)
    .where(TOOL_CALL.c.run_pk == bindparam("run"), TOOL_CALL.c.call_id == bindparam("call"))
    .values(
        outcome=bindparam("new_outcome"),
        result=bindparam("new_result"),
        returned_at=bindparam("now"),
    )
)


@dataclass(frozen=True)
class News:
    """What an addition tells the ledger, by the calls' keys."""

    called: Mapping[str, ToolCalled]
    outcomes: Mapping[str, str]
    tools: Mapping[str, str]
    """Of the calls with an outcome."""
    results: dict[str, str]
    """JSON."""


def news_of(run: ClaimedRun, added: Additions) -> News:
    """Return what an addition tells the ledger of the run's calls."""
    backwards = tuple(reversed(added.events))  # the first of several comes last, and stays
    called = {call_key(e.call_id): e for e in backwards if isinstance(e, ToolCalled)}
    called = {key: event for key, event in called.items() if key not in run.calls}
    outcomes = {call_key(e.call_id): e.outcome for e in backwards if isinstance(e, ToolReturned)}
    unanswered = (run.calls | called.keys()) - run.answered
    outcomes = {key: outcome for key, outcome in outcomes.items() if key in unanswered}
    parts = {call_key(part.tool_call_id): part for part in reversed(added.results)}
    results = {key: dump_result(parts[key]) for key in parts.keys() & outcomes.keys()}
    tools = {call_key(e.call_id): e.tool for e in backwards if isinstance(e, ToolReturned)}
    return News(called, outcomes, tools, results)


def keep(tx: Transaction, run: ClaimedRun, news: News, now: datetime) -> None:
    """Write down which calls were made, and what became of them."""
    for key, called in news.called.items():
        row = {
            "run_pk": run.pk,
            "call_id": key,
            "tool": called.tool,
            "arguments_sha256": _sha256(called.arguments),
            "called_at": now,
            "outcome": news.outcomes.get(key),
            "result": _short(news, key, called.tool),
            "returned_at": now if key in news.outcomes else None,
        }
        tx.insert(TOOL_CALL, row)
    for key in news.outcomes.keys() - news.called.keys():
        this = {"run": run.pk, "call": key, "now": now}
        result = _short(news, key, news.tools[key])
        answer = {"new_outcome": news.outcomes[key], "new_result": result}
        _ANSWERED.change(tx.connection, this | answer)


def _short(news: News, key: str, tool: str) -> str | None:
    text = news.results.get(key)
    return None if text is None else short_result(text, key, tool, news.outcomes[key])


def kept(run: ClaimedRun, added: Additions) -> None:
    """Let the process know what is in the ledger now."""
    news = news_of(run, added)
    run.calls |= news.called.keys()
    run.answered |= news.outcomes.keys()
    run.results |= news.results
    for message in added.messages:
        for part in message.parts:
            if isinstance(part, ToolReturnPart):
                run.results.pop(call_key(part.tool_call_id), None)


def _sha256(arguments: Mapping[str, Any]) -> str:
    canonical = json.dumps(arguments, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
