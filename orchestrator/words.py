"""Words for people and models who watch: on one line, and nothing in them steers a terminal."""

import json

from pydantic import JsonValue

from orchestrator.events import (
    AgentAsked,
    ApprovalDecided,
    ApprovalRequested,
    Event,
    FileChanged,
    HistoryCompacted,
    ModelStoodIn,
    RunEnded,
    RunResumed,
    RunStarted,
    ToolCalled,
    ToolReturned,
    Usage,
    UserMessage,
)

_CONTROLS = (code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t")
_TURNS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""These turn the direction in which a line reads, and so what it seems to say."""

_ENDS = (0x2028, 0x2029)
"""These end a line, where somebody takes them for what they are."""

_ESCAPES = {
    **{code: f"\\x{code:02x}" for code in _CONTROLS},
    **{code: f"\\u{code:04x}" for code in (*_TURNS, *_ENDS)},
}


def printable(text: str) -> str:
    r"""Return the text with control characters shown, not obeyed.

    >>> print(printable("\x1b[2J cleared"))
    \x1b[2J cleared
    """
    return text.translate(_ESCAPES).encode(errors="backslashreplace").decode()


def in_line(text: str) -> str:
    r"""Return the text whole, on one line: a name cannot pretend to be more than one.

    >>> print(in_line("a\n9  forged"))
    a\n9  forged
    """
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def one_line(text: str, limit: int = 100) -> str:
    """Return the text on one line, cut to `limit` characters."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def in_words(usage: Usage) -> str:
    """Return what was used, as a line.

    >>> in_words(Usage(requests=2, tool_calls=1, input_tokens=1200, output_tokens=30))
    '2 requests, 1 tool call, 1,200 tokens in, 30 out, cost unknown'
    """
    parts = [
        _count(usage.requests, "request"),
        _count(usage.tool_calls, "tool call"),
        f"{usage.input_tokens:,} tokens in",
        f"{usage.output_tokens:,} out",
    ]
    parts.append("cost unknown" if usage.cost is None else f"${usage.cost:.4f}")
    return ", ".join(parts)


def told(event: Event) -> str | None:
    """Return an event as a line, or None if it is not one that somebody follows."""
    match event:
        case RunStarted():
            return f"{one_line(event.agent)} with {one_line(event.model, 200)}"
        case RunResumed():
            return f"attempt {event.attempt} with {one_line(event.model, 200)}"
        case UserMessage():
            return f"> {one_line(event.content)}"
        case ToolCalled():
            return f"● {one_line(event.tool)} {_arguments(event.arguments)}"
        case ToolReturned():
            failed = event.outcome != "success"
            first = one_line(event.content.partition("\n")[0] if not failed else event.content)
            return f"  {'✗' if failed else '↳'} {first}"
        case FileChanged():
            return f"  ± {_change(event)}"
        case HistoryCompacted():
            return f"✂ messages 1-{event.upto} are a summary from here on"
        case RunEnded():
            return f"{event.status}: {in_words(event.usage)}"
        case _:
            return _told_of_others(event)


def _told_of_others(event: Event) -> str | None:
    """Return as a line what agents, models and people beside the run have to do with it."""
    match event:
        case AgentAsked():
            return f"  ⇢ {one_line(event.agent)}, session {one_line(event.session_id)}"
        case ModelStoodIn():
            return f"⇄ {one_line(event.model)} in place of {one_line(', '.join(event.failed))}"
        case ApprovalRequested():
            return f"? {one_line(event.tool)} needs a yes: {_arguments(event.arguments)}"
        case ApprovalDecided():
            said = "yes" if event.is_approved else "no"
            reason = f": {one_line(event.reason)}" if event.reason else ""
            return f"! {one_line(event.by)} says {said}{reason}"
        case _:
            return None


def _change(event: FileChanged) -> str:
    path = one_line(event.path, 200)
    parts = [f"{one_line(event.moved_from, 200)} → {path}" if event.moved_from else path]
    if event.kind in ("created", "deleted"):
        parts.append(event.kind)
    if event.added:
        parts.append(f"+{event.added:,}")
    if event.removed:
        parts.append(f"-{event.removed:,}")
    if event.more:
        parts.append(f"and {event.more:,} more")
    return " ".join(parts)


def as_text(output: JsonValue) -> str:
    """Return an answer as text: itself, or its JSON."""
    return output if isinstance(output, str) else json.dumps(output, indent=2, ensure_ascii=False)


def _arguments(arguments: dict[str, JsonValue]) -> str:
    shown = (
        f"{one_line(name, 60)}={one_line(json.dumps(value, ensure_ascii=False), 60)}"
        for name, value in arguments.items()
    )
    return " ".join(shown)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
