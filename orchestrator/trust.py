"""What a spec may say, by where it comes from.

A file on the disk of whoever runs it may say anything. A definition may not reach beyond the
workspace: no other place of this machine, no address of a network, and nothing that would make the
provider of the model do so. What is not on the lists here is refused, also what comes to be later.
"""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from pydantic import JsonValue

from orchestrator.errors import SpecError
from orchestrator.spec_source import Trust
from orchestrator.specs import Spec

STORED_CAPABILITIES = frozenset(
    {
        *("WorkspaceTools", "Budget", "Compaction", "SessionState", "SubAgents", "Approvals"),
        "McpServer",  # by its name alone: what it is and what of it may be used, the operator says
        # Of Pydantic AI: they change how the model is asked, and reach nothing.
        *("Thinking", "Caching", "Citations", "RaiseContentFilterError", "ToolSearch"),
    }
)
SHARED_CAPABILITIES = STORED_CAPABILITIES - {"SubAgents"}

STORED_SETTINGS = frozenset(
    {
        *("max_tokens", "temperature", "top_p", "top_k", "timeout", "parallel_tool_calls", "seed"),
        *("presence_penalty", "frequency_penalty", "stop_sequences", "thinking"),
    }
)
"""Others, such as `extra_headers` and `extra_body`, go to the provider as they are."""

SHARED_MOST = {
    "requests": Decimal(100),
    "total_tokens": Decimal(1_000_000),
    "cost_usd": Decimal(2),
}
"""What one run of an agent that somebody else has written may use, at the most."""

_FILE = "keep the agent as a file ('workyard agents export'): a file on your own disk may have it."
_WAYS_OUT = {
    "MCP": f"a definition names no address; McpServer names a server of the operator's, or {_FILE}",
    "WebFetch": f"a definition reaches no network; {_FILE}",
    "WebSearch": f"a definition reaches no network; {_FILE}",
    "XSearch": f"a definition reaches no network; {_FILE}",
    "LocalWorkspace": "a definition names no place of this machine; use WorkspaceTools.",
    "SubAgents": "an agent that is shared asks no others; keep it private.",
}


def check_trust(spec: Spec, trust: Trust | None = None) -> None:
    """Refuse a spec that says more than it may.

    Args:
        spec: The spec.
        trust: Instead of what its origin gives: that of an agent which it works for.

    Raises:
        SpecError: With field, and line if it has one: the first fault.
    """
    for problem in trust_problems(spec, trust):
        raise problem


def trust_problems(spec: Spec, trust: Trust | None = None) -> Iterator[SpecError]:
    """Yield what a spec says and may not."""
    trust = spec.origin.trust if trust is None else min(trust, spec.origin.trust)
    if trust is Trust.FILE:
        return
    if spec.document.json_schema_path is not None:
        yield spec.error("this is for editors of a file; leave it out.", ("$schema",))
    if "://" in (spec.document.model or ""):
        yield spec.error("a definition names no address; write provider:model.", ("model",))
    yield from _unknown_capabilities(spec, trust)
    for name in spec.document.model_settings or {}:
        if name not in STORED_SETTINGS:
            known = ", ".join(sorted(STORED_SETTINGS))
            problem = f"a definition has no such setting; {_FILE} There is: {known}."
            yield spec.error(problem, ("model_settings", name))
    if trust is Trust.SHARED:
        yield from _budget_problems(spec)


def _unknown_capabilities(spec: Spec, trust: Trust) -> Iterator[SpecError]:
    known = SHARED_CAPABILITIES if trust is Trust.SHARED else STORED_CAPABILITIES
    for index, entry in enumerate(spec.document.capabilities):
        for name in [entry] if isinstance(entry, str) else entry:
            if name not in known:
                way_out = _WAYS_OUT.get(name, f"a definition cannot have it; {_FILE}")
                problem = f"{name} is refused: {way_out}"
                yield spec.error(problem, ("capabilities", index))


def _budget_problems(spec: Spec) -> Iterator[SpecError]:
    """Yield where a budget is not as narrow as that of a shared agent must be."""
    most = ", ".join(f"{name}: {limit}" for name, limit in SHARED_MOST.items())
    budgets = [
        (index, entry["Budget"])
        for index, entry in enumerate(spec.document.capabilities)
        if isinstance(entry, dict) and "Budget" in entry
    ]
    if len(budgets) != 1:
        problem = f"an agent that is shared has one Budget with all its limits, at most {{{most}}}."
        yield spec.error(problem, ("capabilities",))
        return
    index, given = budgets[0]
    if isinstance(given, dict) and "unpriced" in given:
        problem = "an agent that is shared runs on models with a known price alone."
        yield spec.error(problem, ("capabilities", index, "Budget", "unpriced"))
    for name, limit in SHARED_MOST.items():
        value = given.get(name) if isinstance(given, dict) else None
        if not _is_within(value, limit):
            problem = f"an agent that is shared has {name} of at most {limit}, not {value!r}."
            yield spec.error(problem, ("capabilities", index, "Budget", name))


def _is_within(value: JsonValue, limit: Decimal) -> bool:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return False
    return number.is_finite() and 0 < number <= limit
