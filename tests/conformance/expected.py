"""Which scenarios of the suite the server must pass, and why it is not judged by the rest."""

REVISIONS = ("2025-11-25", "2026-07-28")

PASSED = {
    "2025-11-25": {
        "completion-complete",
        "dns-rebinding-protection",
        "ping",
        "prompts-list",
        "resources-list",
        "server-initialize",
        "server-session-lifecycle",
        "server-sse-multiple-streams",
        "tools-list",
    },
    "2026-07-28": {
        "caching",
        "completion-complete",
        "dns-rebinding-protection",
        "http-header-validation",
        "input-required-result-unsupported-methods",
        "prompts-list",
        "resources-list",
        "sep-2164-resource-not-found",
        "server-sse-multiple-streams",
        "tools-list",
    },
}
"""Every check of these succeeds, with nothing made for the suite but one agent's spec: completions
are asked for of a prompt by its name, and of a prompt that is not there they are refused."""

PARTLY = {
    "server-stateless": {
        # Both call the suite's own tool `test_missing_capability`, which must ask for sampling.
        "sep-2575-server-rejects-undeclared-capability",
        "sep-2575-missing-capability-http-400",
        # These want a tool of the suite's that changes the lists. `tests/orchestrator` has notices.
        "sep-2575-server-sends-prompts-list-changed-on-subscription",
        "sep-2575-server-sends-tools-list-changed-on-subscription",
    },
}
"""Scenarios with checks that are left out; all their others succeed."""

_TOOL = "calls a tool of the suite's; what passes without it passes for the wrong reason"
_PROMPT = "gets a prompt of the suite's"
_RESOURCE = "reads or watches a resource of the suite's"
_ASKS = "calls a tool of the suite's that asks the client; no file tool asks"

LEFT_OUT = {
    "elicitation-sep1034-defaults": _ASKS,
    "elicitation-sep1330-enums": _ASKS,
    "http-custom-header-server-validation": "needs a tool with x-mcp-header; no file tool has one",
    "input-required-result-basic-elicitation": _ASKS,
    "input-required-result-basic-list-roots": _ASKS,
    "input-required-result-basic-sampling": _ASKS,
    "input-required-result-capability-check": _ASKS,
    "input-required-result-ignore-extra-params": _TOOL,
    "input-required-result-missing-input-response": _TOOL,
    "input-required-result-multi-round": _ASKS,
    "input-required-result-multiple-input-requests": _ASKS,
    "input-required-result-non-tool-request": _PROMPT,
    "input-required-result-request-state": _ASKS,
    "input-required-result-result-type": _ASKS,
    "input-required-result-tampered-state": _ASKS,
    "input-required-result-validate-input": _TOOL,
    "json-schema-2020-12": _TOOL,
    "logging-set-level": "asks for logging/setLevel; the server logs to its operator alone",
    "prompts-get-embedded-resource": _PROMPT,
    "prompts-get-simple": _PROMPT,
    "prompts-get-with-args": _PROMPT,
    "prompts-get-with-image": _PROMPT,
    "resources-read-binary": _RESOURCE,
    "resources-read-text": _RESOURCE,
    "resources-subscribe": _RESOURCE,
    "resources-templates-read": _RESOURCE,
    "resources-unsubscribe": _RESOURCE,
    "server-sse-polling": "needs a tool of the suite's that closes its own stream",
    "tools-call-audio": _TOOL,
    "tools-call-elicitation": _ASKS,
    "tools-call-embedded-resource": _TOOL,
    "tools-call-error": f"{_TOOL}: an unknown tool is an error too",
    "tools-call-image": _TOOL,
    "tools-call-mixed-content": _TOOL,
    "tools-call-sampling": _ASKS,
    "tools-call-simple-text": f"{_TOOL}: the text of a refusal is text too",
    "tools-call-with-logging": _TOOL,
    "tools-call-with-progress": _TOOL,
}
"""Not judged, whatever they say."""

EXTENSION_PREFIX = "tasks-"
"""An extension that the server does not offer; the suite does not score it either."""

LEFT_OUT_WITH_FIXTURES = {
    # The tools are those of the grant from start to end: there is nothing to announce.
    ("server-stateless", "sep-2575-server-sends-tools-list-changed-on-subscription"),
}
"""Checks that need not succeed on the server with the fixtures; all others that are scored must."""
