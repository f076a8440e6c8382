"""The host's own model, asked through the session of a call (MCP sampling).

Sampling is a request from server to client. Only protocol versions up to 2025-11-25 have those:
from 2026-07-28 on it is deprecated, and exists only as rounds of a call that the client repeats
(docs/decisions/0018-agents-as-tools.md).
"""

from dataclasses import dataclass
from typing import Any  # the SDK's lifespan object, which nobody here uses

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from mcp_server.errors import InvalidInputError, UnavailableError

_INSTEAD = (
    "Let the server use a model of its own: replace '--model client' in its args by '--model NAME' "
    "or WORKYARD_MODEL in its env, with the provider's key in its env."
)


@dataclass(frozen=True, slots=True)
class SampledModel:
    """Asks the host's model on behalf of one call, and as long as the connection is there."""

    context: ServerRequestContext[Any]

    @property
    def has_tools(self) -> bool:
        """Whether the host's sampling takes tools."""
        capabilities = self.context.session.client_capabilities
        return bool(
            capabilities
            and capabilities.sampling is not None
            and capabilities.sampling.tools is not None
        )

    def check(self) -> None:
        """Refuse a host that cannot be asked.

        Raises:
            InvalidInputError: it cannot; the message says why, and what to do instead.
        """
        version = self.context.protocol_version
        if version in MODERN_PROTOCOL_VERSIONS:
            raise InvalidInputError(
                f"The host's own model cannot be used: this host speaks MCP {version}, in which a "
                f"server cannot ask for it. {_INSTEAD}"
            )
        capabilities = self.context.session.client_capabilities
        if capabilities is None or capabilities.sampling is None:
            raise InvalidInputError(
                "The host's own model cannot be used: this host offers no sampling. " + _INSTEAD
            )

    async def ask(
        self, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResultWithTools:
        """Return the answer of the host's model.

        Raises:
            UnavailableError: the host refuses, fails or is gone.
        """
        session = self.context.session
        # On HTTP, the stream of the call carries requests until the call is answered.
        related = self.context.request_id if session.can_send_request else None
        try:
            return await session.send_request(
                types.CreateMessageRequest(params=params),
                types.CreateMessageResultWithTools,
                metadata=ServerMessageMetadata(related_request_id=related),
            )
        except MCPError as error:
            raise UnavailableError(f"The host did not answer: {error.message}") from error
        except ValidationError as error:
            raise UnavailableError(
                "The host's answer is none that the protocol knows; nothing can be made of it."
            ) from error
