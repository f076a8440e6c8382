"""Messages of Pydantic AI → a session with one run, told as if it had been recorded here."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from pydantic import ValidationError
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolReturnPart,
    UserPromptPart,
)

from orchestrator.errors import InvalidInputError
from orchestrator.events import Event, RunEnded, RunStarted, Usage
from orchestrator.ids import new_id
from orchestrator.lifecycle import RunStatus
from orchestrator.session import title_of, titled
from orchestrator.store.changing import SessionDraft
from orchestrator.store.facts import Place, told
from orchestrator.store.messages import messages_of
from orchestrator.store.tables import plain
from orchestrator.store.transfer.lines import EventLine, RunLine, SessionLine
from orchestrator.store.transfer.reading import MAX_BYTES, Arrival
from orchestrator.store.usage import added, used_by

UNKNOWN_MODEL = "unknown"
MODEL_CHARS = 200


def read_conversation(text: str, draft: SessionDraft) -> Arrival:
    """Return the session that messages are to become.

    Args:
        text: JSON, as `ModelMessagesTypeAdapter` of Pydantic AI dumps it.
        draft: What else is known of the session.

    Raises:
        InvalidInputError: If they are none.
    """
    messages = _messages(text)
    returned = [p for m in messages for p in m.parts if isinstance(p, ToolReturnPart)]
    used = used_by(messages, tool_calls=len(returned))
    try:
        run = _run(draft, messages, used)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInputError(
            f"The messages cannot be imported: {problem['loc'][0]}: {problem['msg']}."
        ) from None
    session = SessionLine(
        id=draft.id,
        external_id=draft.external_id,
        agent=draft.agent,
        root=draft.root,
        title=titled(draft.title) if draft.title else plain(title_of(run.prompt)),
        state=draft.state,
        state_version=0,
        usage=added({}, used),
        window_seq=0,
        created_at=run.started_at,
        updated_at=run.started_at,
    )
    events = [
        (EventLine(seq=seq, run_id=run.id, at=run.started_at, event={}), event)
        for seq, event in enumerate(_events(run, messages, used), 1)
    ]
    return Arrival(session, [run], [(run.id, message) for message in messages], [], events)


def _messages(text: str) -> list[ModelMessage]:
    if len(text) > MAX_BYTES:
        raise InvalidInputError(f"The messages have more than {MAX_BYTES} characters.")
    try:
        messages = messages_of(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            "The text is no list of messages as Pydantic AI dumps them with "
            f"ModelMessagesTypeAdapter: {_first_line(error)}."
        ) from None
    if not messages:
        raise InvalidInputError("There is no message in the list.")
    return messages


def _run(draft: SessionDraft, messages: Sequence[ModelMessage], used: Usage) -> RunLine:
    now = datetime.now(UTC)
    names = [m.model_name for m in messages if isinstance(m, ModelResponse) and m.model_name]
    return RunLine(
        id=new_id(),
        status=RunStatus.SUCCEEDED,
        agent=draft.agent,
        spec_sha256="",
        model=plain(names[-1])[:MODEL_CHARS] if names else UNKNOWN_MODEL,
        prompt=_prompt(messages),
        inputs={},
        output_at=_place_of_answer(messages),
        first_message_seq=1,
        attempt=1,
        started_at=now,
        ended_at=now,
        **used.model_dump(exclude={"version"}),
    )


def _prompt(messages: Sequence[ModelMessage]) -> str:
    prompts = (part for m in messages for part in m.parts if isinstance(part, UserPromptPart))
    first = next(prompts, None)
    return first.content if first is not None and isinstance(first.content, str) else ""


def _place_of_answer(messages: Sequence[ModelMessage]) -> Place | None:
    texts = [i for i, part in enumerate(messages[-1].parts) if isinstance(part, TextPart)]
    return (len(messages), texts[-1]) if texts else None


def _events(run: RunLine, messages: Sequence[ModelMessage], used: Usage) -> Iterator[Event]:
    yield RunStarted(agent=run.agent, model=run.model, spec_sha256=run.spec_sha256)
    for message in messages:
        yield from told(message)
    output: str | None = None
    if run.output_at is not None:
        part = messages[-1].parts[run.output_at[1]]
        output = part.content if isinstance(part, TextPart) else None
    yield RunEnded(status=run.status, output=output, usage=used)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else "it is nested too deep"
