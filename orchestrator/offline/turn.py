"""One turn of the conversation: what was asked, what was found, and what comes next."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextContent,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from orchestrator.offline.passages import BEFORE, Evidence, Passage, pick, quote, rank
from orchestrator.offline.question import (
    Term,
    any_of,
    asks_for_tests,
    loosened,
    search_patterns,
    terms_of,
)

TOOLS = ("list_directory", "grep", "read_file")
"""The tools it can call and whose answers it can read."""

_OFFLINE = "Offline: no language model is configured"
_STEPS = 3
_READS = 4
_PASSAGES = 5
_PAGE_LINES = 24

Call = tuple[str, dict[str, object]]


@dataclass
class Turn:
    """Everything after the latest user prompt, and the prompt before it."""

    question: str = ""
    earlier: str = ""
    steps: int = 0
    calls: list[ToolCallPart] = field(default_factory=list)
    evidence: Evidence = field(default_factory=Evidence)
    answered: set[str] = field(default_factory=set)
    """Tools that did what they were asked at least once."""
    failures: list[str] = field(default_factory=list)
    spent: set[str] = field(default_factory=set)
    """Tools that asked for another try: one more failure could end the run."""

    @classmethod
    def of(cls, messages: Sequence[ModelMessage]) -> "Turn":
        """Read the turn off the conversation."""
        turn = cls()
        for message in messages:
            if isinstance(message, ModelResponse):
                turn.steps += 1
                turn.calls += message.tool_calls
                continue
            for part in message.parts:
                if isinstance(part, ToolReturnPart):
                    turn._take(part)
                # In that fence Pydantic AI says, in the user's voice, that an output was refused.
                elif isinstance(part, UserPromptPart) and "\n<pyai:" not in (text := _text(part)):
                    turn = cls(question=text, earlier=turn.question)
        return turn

    @property
    def terms(self) -> list[Term]:
        """What the question asks for."""
        return terms_of(self.question, self.earlier)

    def _take(self, part: ToolReturnPart) -> None:
        answer = part.model_response_str(wrap_if_error=False)
        if part.outcome == "success":
            self.answered.add(part.tool_name)
            self.evidence.add(part.tool_name, answer)
        else:
            self.failures.append(f"{part.tool_name}: {answer}")
        if part.outcome == "retried":
            self.spent.add(part.tool_name)


def _text(prompt: UserPromptPart) -> str:
    if isinstance(prompt.content, str):
        return prompt.content
    texts = (item.content if isinstance(item, TextContent) else item for item in prompt.content)
    return "\n".join(text for text in texts if isinstance(text, str))


def respond(turn: Turn, offered: set[str]) -> tuple[list[Call], str]:
    """Return the next calls; or none, and the answer."""
    if not offered:
        return [], (
            f"{_OFFLINE}, and this agent is offered none of the tools {', '.join(TOOLS)}, "
            "so there is nothing to search and nothing to answer from."
        )
    terms, wants_tests = turn.terms, asks_for_tests(turn.question)
    ranked = rank(turn.evidence, terms, wants_tests=wants_tests)
    if turn.steps and not ranked and not _heads(turn):
        terms = loosened(terms)
        ranked = rank(turn.evidence, terms, wants_tests=wants_tests)
    calls = [call for call in _plan(turn, terms, ranked) if call[0] in offered - turn.spent]
    return calls, "" if calls else _answer(turn, terms, ranked)


def _plan(turn: Turn, terms: list[Term], ranked: list[Passage]) -> list[Call]:
    """Search, then read what looks best; when nothing was found, search wider in between."""
    if turn.steps == 0:
        searches = [_search(pattern) for pattern in search_patterns(terms)]
        return [("list_directory", {"path": ".", "depth": 2}), *searches]
    if turn.steps >= _STEPS or any("offset" in call.args_as_dict() for call in turn.calls):
        return []
    calls = [_page(place) for place in pick(ranked, _READS)]
    if turn.steps == 1:
        calls += [_opening(path) for path in _heads(turn)]
    if turn.steps == 1 and terms and not calls:
        calls = [_search(any_of(terms)), *map(_opening, _likely_files(turn, terms))]
    return calls


def _search(pattern: str) -> Call:
    return "grep", {"pattern": pattern, "ignore_case": True}


def _opening(path: str) -> Call:
    return "read_file", {"path": path}


def _page(place: Passage) -> Call:
    offset = max(1, place.line - BEFORE)
    return "read_file", {"path": place.path, "offset": offset, "limit": _PAGE_LINES}


def _heads(turn: Turn) -> list[str]:
    """Return the files that the question names; the README if it has no telling word at all."""
    files = turn.evidence.files
    if not turn.terms:
        return [path for path in files if path.lower().startswith("readme")][:1]
    named = [term.text for term in turn.terms if term.is_path]
    listed = [path for path in files if f"/{path}".endswith(tuple(f"/{name}" for name in named))]
    return listed[:2] or [name for name in named if "/" in name][:2]


def _likely_files(turn: Turn, terms: list[Term]) -> list[str]:
    """Return files whose names have a term, for when no search tells what is in them."""
    files = turn.evidence.files
    return [path for path in files if any(term.search(path) for term in terms)][:_READS]


def _answer(turn: Turn, terms: list[Term], ranked: list[Passage]) -> str:
    """Write the answer: the passages, where else to look, what was not found, what failed."""
    evidence = turn.evidence
    openings = [place for path in _heads(turn) if (place := evidence.opening(path))]
    picked = [*openings, *pick(ranked, _PASSAGES)][:_PASSAGES]
    parts = [f"{_OFFLINE}; these are the passages that match best." if picked else _nothing(turn)]
    for place in picked:
        first, lines = quote(evidence, place, terms)
        parts.append(f"{place.path}:{first}\n\n" + "\n".join(f"    {line}" for line in lines))
    quoted = {place.path for place in picked}
    counts = Counter(place.path for place in ranked if place.path not in quoted)
    if others := [f"{path} ({count})" for path, count in counts.items()][:_PASSAGES]:
        parts.append(f"More matches: {', '.join(others)}.")
    missing = [repr(term.text) for term in turn.terms if not evidence.holds(term)]
    if picked and missing:
        parts.append(f"Nothing matches {', '.join(missing)}.")
    if turn.failures:
        first_failure = turn.failures[0].partition("\n")[0]
        parts.append(f"{len(turn.failures)} of {len(turn.calls)} calls failed; {first_failure}")
    return "\n\n".join(parts)


def _nothing(turn: Turn) -> str:
    """Say what was not found, and what is there."""
    sought = ", ".join(repr(term.text) for term in turn.terms) or "a question without telling words"
    searched = f"no line matches {sought}" if "grep" in turn.answered else "nothing was found"
    held = ", ".join(turn.evidence.entries[:30]) or "nothing that was listed"
    return f"{_OFFLINE}, and {searched}. The directory holds: {held}."
