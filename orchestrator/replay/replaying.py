"""Running an agent again with the answers of a recorded run."""

from dataclasses import dataclass

from pydantic import JsonValue
from pydantic_ai import Conversation, UsageLimits
from pydantic_ai.messages import ModelMessage, ToolCallPart

from orchestrator.agents import WorkyardAgent
from orchestrator.errors import LimitError, ModelUnavailableError
from orchestrator.failures import explain
from orchestrator.ids import new_id
from orchestrator.replay.differences import ReplayedCall, Verdict, compared
from orchestrator.replay.played import PlayedModel, RecordEndsError
from orchestrator.replay.witness import Witness
from orchestrator.store.recorded_run import RecordedRun

_TRIES = 1_000_000
"""How often in one go a call may be refused: no refusal ends a replay before all were compared."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What a recorded run gives today."""

    run_id: str
    """The recorded run."""
    replay_id: str
    """By this the journal of the workspace knows what the replay has changed."""
    agent: str
    root: str
    """The directory that it worked in, or in a copy of which."""
    spec_changed: bool
    """Whether the agent's spec is another than it was."""
    calls: tuple[ReplayedCall, ...]
    """In the order in which the model asked for them."""
    problem: str | None
    """Why the run went another way than the recorded one; None if it did not."""

    def verdict(self) -> dict[str, JsonValue]:
        """Return what follows from the rest, for JSON."""
        return {"differs": self.differs}

    @property
    def differs(self) -> bool:
        """Whether anything is not as it was."""
        as_it_was = (Verdict.SAME, Verdict.NOT_RECORDED)
        return self.problem is not None or any(c.verdict not in as_it_was for c in self.calls)


@dataclass(frozen=True, kw_only=True)
class Performance:
    """A recorded run, and who plays it where."""

    recorded: RecordedRun
    past: list[ModelMessage]
    """What the model was given before the run's own messages."""
    agent: WorkyardAgent
    model: PlayedModel
    inputs: dict[str, JsonValue]


async def perform(performance: Performance) -> tuple[tuple[ReplayedCall, ...], str | None]:
    """Run the agent with the recorded answers, and return its calls and what went another way.

    Raises:
        OrchestratorError: If the agent cannot begin, or something outside fails.
    """
    model = performance.model
    witness = Witness(step=lambda: model.asked)
    problem = await _play(performance, witness)
    recorded = performance.recorded
    if problem is None and model.asked < len(recorded.steps):
        problem = f"The agent ended after {model.asked} of {len(recorded.steps)} answers."
    calls = tuple(
        compared(
            number,
            call,
            step.results.get(call.tool_call_id),
            witness.results.get((number, call.tool_call_id)),
        )
        for number, step in enumerate(recorded.steps, 1)
        for call in step.answer.parts
        if isinstance(call, ToolCallPart)
    )
    return calls, problem


async def _play(performance: Performance, witness: Witness) -> str | None:
    """Run the agent to its end, and return what stopped it before, if it is worth telling."""
    model = performance.model
    try:
        async with performance.agent as agent:
            await agent.run(
                performance.recorded.prompt,
                conversation=Conversation(messages=performance.past, conversation_id=new_id()),
                run_id=model.run_id,
                deps=performance.inputs or None,
                capabilities=[witness],
                usage_limits=UsageLimits(request_limit=None),
                retries={"tools": _TRIES},
            )
    except RecordEndsError:
        return model.problem
    except Exception as error:  # as in a run; what is none of ours is a bug, and raised
        known = explain(error, model.model_name)
        if isinstance(known, LimitError) and model.has_ended_as_then:
            return None
        if isinstance(known, LimitError | ModelUnavailableError):
            return f"The replay ended after {model.asked} answers: {known}"
        raise known or error from error
    return None
