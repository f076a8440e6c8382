"""Writes a run down while it happens, as a capability of the agent that runs.

Pydantic AI calls these hooks in the order in which the record must be written: the messages of a
request before the model is asked, its response and its calls before a tool has an effect, each
result as it comes. What is on record is therefore never ahead of what happened, and never more than
one step behind.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any  # Any: a capability serves agents with deps of any type

import anyio
from pydantic_ai import RunContext, RunUsage
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering, WrapModelRequestHandler
from pydantic_ai.messages import (
    AgentStreamEvent,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolReturn,
    ToolReturnPart,
)
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.output import OutputContext
from pydantic_ai.tools import ToolDefinition

from orchestrator.capabilities import FilesChanged
from orchestrator.chain import Chain, News, compacted_event, goes_on, repeats
from orchestrator.events import (
    AgentMessage,
    Event,
    ModelStoodIn,
    RunEnded,
    TextDelta,
    ThinkingDelta,
    Usage,
)
from orchestrator.failures import without_secrets
from orchestrator.noted import Delta, Noted, is_result
from orchestrator.store.claimed import Additions, ClaimedRun, Compacted
from orchestrator.store.completion import uninterrupted
from orchestrator.store.store import Store
from orchestrator.store.usage import (
    counted_for_broken_off,
    in_all,
    together,
    used_beside,
    used_by,
)

FLUSH_S = 0.2
FLUSH_CHARS = 4096
"""Streamed text is written this often or in pieces of this size: not a transaction per token."""


@dataclass
class Recorder(AbstractCapability[Any]):
    """The record of one run."""

    store: Store
    run: ClaimedRun

    def __post_init__(self) -> None:
        self.usage: RunUsage = self.run.conversation.usage + in_all(self.run.used)
        """What the session has used so far, this run included."""
        self._messages: Sequence[ModelMessage] = self.run.conversation.messages
        self._chain = Chain(self.run)
        self._own: list[ModelMessage] = []
        """The run's messages that are on record."""
        settled = self.run.settled
        # What is on record already and is told again, as far as it has not been told yet.
        self._known_answer = settled.answer
        self._known_calls = {*settled.called}
        self._known_results = {*settled.results}
        self._noted = Noted({*settled.results})
        self._asked: list[ModelMessage] | None = None
        """The history with the first request, while that waits to be written with its answer."""
        self._flushed_at = time.monotonic()
        self._turn = anyio.Lock()

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """Keep it out of specs: only a runner can make one."""
        return None

    def get_ordering(self) -> CapabilityOrdering:
        """Come after whatever else looks at a request: what is written is what is sent."""
        return CapabilityOrdering(position="innermost")

    def note(self, event: Event) -> None:
        """Take note of what happens beside the run, for it; it is written within `FLUSH_S`."""
        self._noted.note(event)

    async def put(self, questions: Sequence[Event]) -> None:
        """Write down what the run waits for."""
        for question in questions:
            self._noted.note(question)
        await self.flush()

    def _summed_up(self) -> Usage:
        """Take note of what no event has told of, and return what this run has used."""
        self._noted.note_untold(self._messages)
        own = [*self._own, *self._chain.news(self._messages).new]
        now = used_by(own, tool_calls=self._noted.calls)
        beside = used_beside(self.usage, self._before, own)
        return together(self.run.used, together(now, beside))

    @property
    def _before(self) -> RunUsage:
        """What the session had used before this attempt."""
        return self.run.conversation.usage + in_all(self.run.used)

    def _used_beside(self) -> Usage:
        """Return what the run has used that is in none of its responses."""
        own = [*self._own, *self._chain.news(self._messages).new]
        return together(self.run.used_beside, used_beside(self.usage, self._before, own))

    def _unwritten(self, history: Sequence[ModelMessage]) -> tuple[News, Additions]:
        """Return what is not on record yet."""
        self._noted.end_text()
        news = self._chain.news(history)
        events, compacted = tuple(self._noted.events), None
        if news.given is not None:
            upto = self._chain.upto(news)
            compacted = Compacted(upto=upto, given=news.given, usage=self._used_beside())
            number = self.run.message_seq + 1
            events = (*events, compacted_event(news, upto=upto, message=number))
        return news, Additions(
            compacted=compacted,
            messages=self._as_known(news.new),
            events=events,
            results=tuple(self._noted.results),
        )

    def _as_known(self, new: Sequence[ModelMessage]) -> Sequence[ModelMessage]:
        """Return messages with results as they are on record, and without those in a message."""
        settled = self.run.settled
        first = new[0] if new and not self._own else None
        if not isinstance(first, ModelRequest):
            return new
        parts = [
            settled.results.get(part.tool_call_id, part) if is_result(part) else part
            for part in first.parts
            if not (is_result(part) and part.tool_call_id in settled.in_messages)
        ]
        return [replace(first, parts=parts), *new[1:]]

    async def before_run(self, ctx: RunContext[Any]) -> None:
        """Take hold of the run's messages and usage, which Pydantic AI goes on adding to."""
        self._messages = ctx.messages
        self.usage = ctx.usage

    async def wrap_model_request(
        self,
        ctx: RunContext[Any],
        *,
        request_context: ModelRequestContext,
        handler: WrapModelRequestHandler,
    ) -> ModelResponse:
        """Write what is to be asked: to make it fit the model can take long, or end the run.

        The first request says what the claim has written. It is written with its answer: whoever
        goes on with the run can ask the same again.
        """
        self._messages = ctx.messages
        self._known_answer = None
        self._noted.begin_answer()
        if self._is_said_already():
            self._asked = list(ctx.messages)
        else:
            await self.flush()
        return await handler(request_context)

    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Write what the model is about to be sent, if that is not all of it."""
        if self._asked is None or self._is_replaced():
            await self.flush()
        return request_context

    async def prepare_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Write what the model is about to be sent instead, when it is asked again."""
        if request_context.attempt > 1:
            await self.flush()
        return request_context

    async def after_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """Note what the model has said; it is written with its calls, or with the run's end."""
        self._noted.has_whole_answer()
        response = without_secrets(response)
        if response.failed_attempts:
            failed = tuple(f"{a.provider_name}:{a.model_name}" for a in response.failed_attempts)
            answered = f"{response.provider_name}:{response.model_name}"
            self._noted.note(ModelStoodIn(model=answered, failed=failed))
        for part in response.parts:
            if isinstance(part, TextPart) and part.content:
                self._noted.note(AgentMessage(content=part.content))
        return response

    async def before_output_validate(
        self, ctx: RunContext[Any], *, output_context: OutputContext, output: str | dict[str, Any]
    ) -> str | dict[str, Any]:
        """Write a structured answer before it is judged: it has been paid for."""
        await self.flush()
        return output

    async def before_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
    ) -> dict[str, Any]:
        """Write the calls before the first of them has an effect."""
        await self.flush()
        return args

    async def after_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        result: Any,
    ) -> Any:
        """Take what the workspace tells of a change: events have it, so no message needs to."""
        if not isinstance(result, ToolReturn) or not isinstance(result.metadata, FilesChanged):
            return result
        self._noted.note_changes(call.tool_call_id, result.metadata.files)
        return result.return_value

    async def on_event(self, ctx: RunContext[Any], *, event: AgentStreamEvent) -> None:
        """Take note of what can be seen of the run."""
        if self._is_known(event):
            return
        match event:
            case PartStartEvent(part=TextPart(content=text)):
                await self._say(TextDelta, text)
            case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                await self._say(TextDelta, text)
            case PartStartEvent(part=ThinkingPart(content=text)):
                await self._say(ThinkingDelta, text)
            case PartDeltaEvent(delta=ThinkingPartDelta(content_delta=str(text))):
                await self._say(ThinkingDelta, text)
            case FunctionToolCallEvent():
                self._noted.note_call(event)
            case FunctionToolResultEvent(part=part):
                self._noted.note_result(part)
                await self.flush()
            case _:
                pass

    def _is_known(self, event: AgentStreamEvent) -> bool:
        """Say whether an event tells again what is on record, as when a run goes on."""
        match event:
            case PartStartEvent() | PartDeltaEvent():
                return self._known_answer is not None
            case FunctionToolCallEvent(part=ToolCallPart(tool_call_id=call_id)):
                known = self._known_calls
            case FunctionToolResultEvent(part=ToolReturnPart(tool_call_id=call_id)):
                known = self._known_results
            case _:
                return False
        if call_id not in known:
            return False
        known.remove(call_id)  # another one may have its id later
        return True

    @uninterrupted
    async def end(self, ended: RunEnded) -> RunEnded:
        """Write the run's end, and what has come in before it, in one transaction; return it.

        What the run has used is summed up at the same moment: until then, a call can come to its
        end that was under way when the run was cancelled.
        """
        async with self._turn:
            await self._write_replaced()
            ended = ended.model_copy(update={"usage": self._summed_up()})
            news, added = self._unwritten(self._messages)
            of_session = self.usage - counted_for_broken_off([*self._own, *news.new])
            of_session.tool_calls = self._before.tool_calls + self._noted.calls
            await self.store.end(self.run, ended, added, session_usage=of_session)
            return ended

    @uninterrupted
    async def flush(self) -> None:
        """Write what has come in since the last time, in one transaction."""
        async with self._turn:
            await self._write_replaced()
            await self._write(self._messages)

    async def _write_replaced(self) -> None:
        """Write the request that waits as it was asked, if the history is another one by now."""
        if self._asked is not None and self._is_replaced():
            await self._write(self._asked)

    async def _write(self, history: Sequence[ModelMessage]) -> None:
        news, added = self._unwritten(history)
        events = len(self._noted.events)
        await self.store.record(self.run, added)
        # Not before: what could not be written is written with what comes next.
        self._noted.written(events=events, results=len(added.results))
        self._asked = None
        self._chain.wrote(news)
        self._own += news.new
        self._flushed_at = time.monotonic()

    def _is_said_already(self) -> bool:
        """Say whether all that is not on record is a request with the prompt, which is."""
        if self._own or self._noted.events:
            return False
        return repeats(self._chain.news(self._messages), self.run.draft.prompt)

    def _is_replaced(self) -> bool:
        """Say whether the history is not the one any more with the request that waits."""
        return self._asked is not None and not goes_on(self._messages, self._asked)

    async def flush_regularly(self) -> None:
        """Write what waits, so that a reader sees it also when the model pauses."""
        while True:
            await anyio.sleep(FLUSH_S)
            if self._noted:
                await self.flush()

    async def _say(self, kind: Delta, text: str) -> None:
        self._noted.say(kind, text)
        due = time.monotonic() - self._flushed_at >= FLUSH_S
        if self._noted.text_chars >= FLUSH_CHARS or due:
            await self.flush()
