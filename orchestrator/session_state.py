"""The session's state in an agent's hands: a capability with two tools.

A spec that names it lets its agent read and change the state of the session that it runs in, and
no other. In plain Pydantic AI, where there are no sessions on record, a conversation's state lasts
as long as the agent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar  # Any: a capability serves agents with deps of any type

from pydantic import JsonValue
from pydantic_ai import FunctionToolset, RunContext, ToolFailed
from pydantic_ai.capabilities import AbstractCapability

from orchestrator.errors import ConflictError, InvalidInputError, LimitError
from orchestrator.state import State, States, changed


@dataclass
class _Remembered:
    """States of conversations that are on no record."""

    _states: dict[str, State] = field(default_factory=dict)

    async def state(self, session_id: str) -> State:
        return self._states.get(session_id, State({}, version=0))

    async def update_state(
        self,
        session_id: str,
        changes: Mapping[str, JsonValue],
        *,
        expected_version: int | None = None,
    ) -> State:
        before = await self.state(session_id)
        self._states[session_id] = changed(session_id, before, changes, expected_version)
        return self._states[session_id]


@dataclass
class SessionState(AbstractCapability[Any]):
    """Lets an agent keep JSON values with its session, which its callers can read and change."""

    states: ClassVar[States | None] = None
    """Where they are; in memory when nobody has said so."""

    def get_toolset(self) -> FunctionToolset[Any]:
        """Return the tools `read_state` and `update_state`."""
        return self._toolset

    @cached_property
    def _toolset(self) -> FunctionToolset[Any]:
        states = self.states or _Remembered()

        async def read_state(ctx: RunContext[Any]) -> dict[str, JsonValue]:
            """Read what is kept with this session: a JSON object, and its version.

            Your callers and earlier turns may have put something there.
            """
            return _told(await states.state(ctx.conversation_id or ""))

        async def update_state(
            ctx: RunContext[Any],
            changes: dict[str, JsonValue],
            expected_version: int | None = None,
        ) -> dict[str, JsonValue]:
            """Change what is kept with this session, and return all of it.

            Args:
                ctx: The run.
                changes: Keys to set. An object is merged into the one that is there, null removes a
                    key, and any other value takes the place of the one before.
                expected_version: The version that your changes follow from. If others have changed
                    the state since, nothing is changed, and you are told.
            """
            session_id = ctx.conversation_id or ""
            try:
                state = await states.update_state(
                    session_id, changes, expected_version=expected_version
                )
            except (ConflictError, InvalidInputError, LimitError) as error:
                raise ToolFailed(str(error)) from error
            return _told(state)

        return FunctionToolset([read_state, update_state], id="session_state")


def _told(state: State) -> dict[str, JsonValue]:
    return {"version": state.version, "state": state.values}


def session_state_in(states: States) -> type[SessionState]:
    """Return the capability with the states of a record."""
    place = states

    @dataclass
    class Placed(SessionState):
        states: ClassVar[States | None] = place

        @classmethod
        def get_serialization_name(cls) -> str:
            return SessionState.__name__

    return Placed
