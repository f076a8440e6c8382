"""The person at the host, asked through the session of a call (MCP elicitation).

As with sampling, only protocol versions up to 2025-11-25 have requests from server to client. Where
a host has none, the call says what the run waits for, and `answer_run` answers.
"""

from typing import Any  # the SDK's lifespan object, which nobody here uses

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from mcp_server.ports import Question, Verdict
from mcp_server.text import printable_name

_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "allow": {"type": "boolean", "title": "Allow this call"},
        "reason": {"type": "string", "title": "If not, why: the agent is told"},
    },
    "required": ["allow"],
}


def can_ask(context: ServerRequestContext[Any]) -> bool:
    """Say whether the host puts questions to its user."""
    capabilities = context.session.client_capabilities
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS or capabilities is None:
        return False
    elicitation = capabilities.elicitation
    # A host of before 2025-11-25 says only that it has it.
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


async def ask(context: ServerRequestContext[Any], question: Question) -> Verdict | None:
    """Return what the user says to a question; None if nothing was said."""
    message = "\n".join(part for part in (question.asked, question.preview) if part)
    params = types.ElicitRequestFormParams(message=message, requested_schema=_FORM)
    related = context.request_id if context.session.can_send_request else None
    try:
        result = await context.session.send_request(
            types.ElicitRequest(params=params),
            types.ElicitResult,
            metadata=ServerMessageMetadata(related_request_id=related),
        )
    except (MCPError, ValidationError):  # it refuses, or says what the protocol does not know
        return None
    if result.action == "cancel":
        return None
    said = result.content or {}
    return Verdict(
        is_approved=result.action == "accept" and said.get("allow") is True,
        by=host_user(context),
        call_id=question.call_id,
        reason=str(said.get("reason") or ""),
    )


def host_user(context: ServerRequestContext[Any]) -> str:
    """Return what the record says of who has answered."""
    client = context.session.client_params
    host = printable_name(client.client_info.name) if client else "a host"
    return f"the user of {host}"[:200]
