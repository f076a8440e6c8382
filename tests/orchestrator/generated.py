"""Runs of any content, made from a seed: what providers, tools and files could bring."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Literal  # Any: what JSON holds

from pydantic_ai.messages import (
    BinaryContent,
    DocumentUrl,
    FilePart,
    ImageUrl,
    InstructionDeltaPart,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    RetryFeedbackPart,
    RetryInfo,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.usage import RequestUsage

from orchestrator.events import AgentMessage, Event, TextDelta, ToolCalled, ToolReturned
from orchestrator.store.claimed import Additions
from orchestrator.store.facts import shown

TEXTS = (
    "",
    "Find the till.",
    "é 日本 🎈 \u2028 \\ \" ' \t\r\n",
    "a \0 b",
    "a \\x00 b",
    "half \ud800 a pair",
    "\udfff",
    "a pair in halves \ud83c\udf88",
    '{"in_ledger":"c1"}',
    '{"parts":[{"in_ledger":"c1"}]}',
    '{"parts":[{"in_run":true,"part_kind":"user-prompt"}]}',
    '{"at":[1,0]}',
    '"},{"kind":"request"',
    "x" * 2000,
    "y" * 2001,
)
Outcome = Literal["success", "failed", "denied", "interrupted", "retried"]
CALL_IDS = ("c1", "c2", "", "c\0", "c\\x00", "c\ud800", '"', "long " * 1000, "long " * 1001)
KEYS = ("a", "at", "in_ledger", "content", "kind", "url", "\0")


class Generated(random.Random):
    """What may come, the same for the same seed."""

    def text(self) -> str:
        return self.choice(TEXTS)

    def value(self, depth: int = 2) -> Any:
        """Return a value of JSON, with what JSON has no word for."""
        kinds: list[Callable[[], Any]] = [
            self.text,
            lambda: self.choice((None, True, False, 0, 1, 1.0, -0.0, 2**70, float("nan"))),
        ]
        if depth:
            kinds += [
                lambda: [self.value(depth - 1) for _ in range(self.randrange(3))],
                lambda: {
                    self.choice(KEYS): self.value(depth - 1) for _ in range(self.randrange(3))
                },
            ]
        return self.choice(kinds)()

    def content(self) -> Any:
        """Return what a tool could return."""
        kinds: tuple[Callable[[], Any], ...] = (
            self.text,
            self.value,
            lambda: self.randbytes(20),
            lambda: BinaryContent(self.randbytes(20), media_type="image/png"),
            lambda: ImageUrl("https://host/picture"),
            lambda: DocumentUrl("https://host/paper.pdf"),
            lambda: [self.text(), BinaryContent(b"\xff", media_type="application/pdf")],
            lambda: {"inner": [self.value(), b"\xfe"]},
        )
        return self.choice(kinds)()

    def arguments(self) -> str | dict[str, Any] | None:
        texts = ("", "{}", "not json", "[1]", '{"a": 1}', '{"a":true}', '{"a": NaN}')
        return self.choice((None, *texts, {"a": 1}, {"a": True}, {"a": 1.0}, {"a": self.value()}))

    def request(self, prompt: str) -> ModelRequest:
        parts: tuple[Callable[[], ModelRequestPart], ...] = (
            lambda: UserPromptPart(prompt),
            lambda: UserPromptPart(self.text()),
            lambda: UserPromptPart([self.text(), BinaryContent(b"\xff", media_type="a/b")]),
            lambda: SystemPromptPart(self.text()),
            lambda: RetryFeedbackPart(self.text(), retry=RetryInfo(cause="no_output")),
            lambda: InstructionDeltaPart(id=None, content=None),
            self.returned,
        )
        metadata = self.choice((None, {}, {"a": None}))
        instructions = self.choice((None, self.text()))
        chosen = [self.choice(parts)() for _ in range(self.randrange(4))]
        return ModelRequest(parts=chosen, instructions=instructions, metadata=metadata)

    def returned(self) -> ToolReturnPart:
        outcomes: tuple[Outcome, ...] = ("success", "failed", "denied", "interrupted", "retried")
        outcome = self.choice(outcomes)
        metadata = self.choice((None, {"a": [None]}))
        return ToolReturnPart(
            "t", self.content(), self.choice(CALL_IDS), metadata=metadata, outcome=outcome
        )

    def response(self) -> ModelResponse:
        parts: tuple[Callable[[], ModelResponsePart], ...] = (
            lambda: TextPart(self.text()),
            lambda: ThinkingPart(self.text(), signature=self.choice((None, "s"))),
            lambda: ToolCallPart("t", self.arguments(), self.choice(CALL_IDS)),
            lambda: FilePart(BinaryContent(self.randbytes(9), media_type="image/png")),
        )
        chosen = [self.choice(parts)() for _ in range(self.randrange(4))]
        details = self.choice((None, {"a": None, "b": "\ud800"}))
        return ModelResponse(
            parts=chosen, usage=RequestUsage(input_tokens=3), provider_details=details
        )

    def additions(self, prompt: str, run_id: str) -> Additions:
        """Return a step of a run: as the recorder writes it, and in ways in which it does not."""
        messages: list[ModelMessage] = []
        events: list[Event] = [TextDelta(content=self.text())]
        for _ in range(self.randrange(3)):
            message = self.choice((lambda: self.request(prompt), self.response))()
            message.run_id = self.choice((run_id, None, "another"))
            messages.append(message)
        for message in messages:
            for part in message.parts:
                if isinstance(part, TextPart):
                    events.append(AgentMessage(content=part.content))
                if isinstance(part, ToolCallPart):
                    arguments = part.args_as_dict()
                    events.append(
                        ToolCalled(call_id=part.tool_call_id, tool="t", arguments=arguments)
                    )
        results = [self.returned() for _ in range(self.randrange(3))]
        results += [p for m in messages for p in m.parts if isinstance(p, ToolReturnPart)]
        self.shuffle(results)
        for part in results:
            call_id, text = part.tool_call_id, shown(part)
            if self.random() < 0.5:
                events.append(ToolCalled(call_id=call_id, tool="t", arguments={}))
            returned = ToolReturned(call_id=call_id, tool="t", outcome=part.outcome, content=text)
            events.append(returned)
        if messages and self.random() < 0.3:
            messages.append(ModelRequest(parts=list(results)))
        return Additions(messages=messages, events=events, results=results)


NO_FILES = ', "content_file_digests": []'


def as_said(messages: Sequence[ModelMessage]) -> list[str]:
    """Return messages so that what differs in JSON differs, and a NaN is itself.

    A letter that came as two halves, which some servers stream, is the letter. Bytes outside a file
    are text of base64 once they have been JSON, and their message no longer says "no files".
    """
    dumped = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")
    return [json.dumps(message).replace(NO_FILES, "") for message in dumped]
