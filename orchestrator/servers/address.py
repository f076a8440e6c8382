"""A server at an address, over Streamable HTTP."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Unpack

import httpx2
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.client.transports.base import SessionKwargs, TransportOptions
from mcp import ClientSession

from orchestrator.servers.wire import MAX_MESSAGE_BYTES, UncheckedSession

CONNECT_S = 30.0

_LOGGER = "mcp.client.streamable_http"


class AddressTransport(StreamableHttpTransport):
    """Speaks with a server over HTTP, and takes no more of an answer than may be.

    Redirects are followed within the server's own origin alone, as the SDK does it: what the
    headers hold is for nobody else.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        super().__init__(
            url,
            # What is packed can be a thousand times larger than what comes.
            headers={**headers, "Accept-Encoding": "identity"},
            httpx_client_factory=self._client,
            max_sse_event_size=MAX_MESSAGE_BYTES,
        )
        self._refused: int | None = None

    @property
    def problem(self) -> str:
        """What is wrong, as far as the transport knows."""
        return "" if self._refused is None else f"it answers with HTTP {self._refused}"

    @asynccontextmanager
    async def connect_session(
        self,
        *,
        transport_options: TransportOptions | None = None,
        **session_kwargs: Unpack[SessionKwargs],
    ) -> AsyncGenerator[ClientSession]:
        """Speak with the server."""
        # It would print what it cannot read, secrets that a server repeats among it.
        logging.getLogger(_LOGGER).setLevel(logging.CRITICAL)
        options = TransportOptions(session_class=UncheckedSession)
        async with super().connect_session(transport_options=options, **session_kwargs) as session:
            yield session

    def _client(
        self,
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
        **_: object,
    ) -> httpx2.AsyncClient:
        # How long an answer may take, who has asked for it says.
        waits = httpx2.Timeout(CONNECT_S, read=None)
        client = httpx2.AsyncClient(headers=headers, auth=auth, timeout=waits)
        client.event_hooks = {"response": [self._look_at]}
        return client

    async def _look_at(self, response: httpx2.Response) -> None:
        """Let a response end with an error where it is longer than may be."""
        self._refused = response.status_code if response.is_error else None
        response.headers.pop("content-encoding", None)  # none was asked for, and none is unpacked
        assert isinstance(response.stream, httpx2.AsyncByteStream), "the client is asynchronous"
        response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, whole: httpx2.AsyncByteStream) -> None:
        self._whole = whole

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_MESSAGE_BYTES
        async for chunk in self._whole:
            left -= len(chunk)
            if left < 0:
                raise httpx2.StreamError(f"the answer is longer than {MAX_MESSAGE_BYTES:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._whole.aclose()
