"""How a connection begins: what the front has answered is not said twice, and what it should know.

The server answers every request, those too that `mcp_server.front` has answered ahead of it. Here
its answers are compared with what was said then, and kept for the next start.
"""

import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import anyio
import anyio.to_thread
import mcp_types as types

from mcp_server.front import Front
from mcp_server.remembered import Asker, states_of, states_of_code

_FIRST = 64
"""So many questions of a connection are its first; hosts ask five."""

_PROMPTS_CHANGED = types.JSONRPCNotification(
    jsonrpc="2.0", method="notifications/prompts/list_changed"
)

logger = logging.getLogger(__name__)


class _Asked(NamedTuple):
    method: str
    key: str | None
    """None if the answer is not to be remembered."""


class Opening:
    """The first questions of a connection, and their answers."""

    def __init__(self, front: Front, places: Sequence[str]) -> None:
        """Take over from `front`; `places` are files and directories that listings depend on."""
        front.hand_over()
        self.heard, self.unsent, self.has_ended = front.heard, front.unsent, front.has_ended
        self._front = front
        self._places = states_of(places)
        self._made_of = states_of_code() | self._places
        self._asker = Asker()
        self._asked: dict[types.RequestId | None, _Asked] = {}
        self._left = _FIRST
        self._news: str | None = None
        self._writing = anyio.CapacityLimiter(1)

    def ask(self, request: types.JSONRPCRequest) -> None:
        """Note a request that the server is going to answer."""
        key = self._asker.key(request.method, request.params)
        if key is None or not (self._left or request.id in self._front.answered):
            return
        # Once a spec has changed, the next start has nothing to remember but that.
        has_changed = states_of(self._places) != self._places
        self._left = 0 if has_changed else max(0, self._left - 1)
        self._asked[request.id] = _Asked(request.method, None if has_changed else key)

    def left_to_say(
        self, answer: types.JSONRPCResponse | types.JSONRPCError
    ) -> types.JSONRPCMessage | None:
        """Return what the client has to be sent for an answer of the server."""
        asked = self._asked.pop(answer.id, None)
        if asked is None:
            return answer
        told = self._front.answered.pop(answer.id, None)
        if isinstance(answer, types.JSONRPCResponse):
            result = json.dumps(answer.result)
            if asked.key is not None:
                news = self._front.memory.learn(asked.key, result, self._made_of)
                self._news = news or self._news
            if told == result:
                return None
        if told is None:
            return answer
        logger.warning("the answer to %s, told ahead, is another by now", asked.method)
        is_heard = asked.method == "prompts/list" and self._asker.is_introduced
        return _PROMPTS_CHANGED if is_heard else None

    async def keep(self) -> None:
        """Keep for the next start what is new."""
        text, self._news = self._news, None
        if text is not None:
            keep = partial(self._front.memory.keep, text)
            await anyio.to_thread.run_sync(keep, limiter=self._writing)
