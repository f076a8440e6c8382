"""How a run of an agent is told: text for the model that asked, facts for the program that called.

"_meta": {"workyard/run": {"run_id": "…", "session_id": "…", "status": "succeeded", …}}
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any  # JSON as it goes

from mcp_server.changed import ChangedFile
from mcp_server.ports import Question, RunnableAgent, RunReport, Step
from mcp_server.text import MAX_ANSWER_BYTES, byte_size, counted, rows_that_fit

RUN = "workyard/run"
"""What a result's `_meta` holds of a run."""

_MAX_STEPS = 30
"""Steps that one answer shows: the last ones. A model asks on for what is new."""
_MAX_FILES = 100


@dataclass(frozen=True, slots=True)
class Told:
    """The result of a call."""

    text: str
    meta: dict[str, Any] = field(default_factory=dict)
    is_error: bool = False


def tell_agents(agents: Sequence[RunnableAgent]) -> Told:
    """Return the agents, each with its inputs."""
    if not agents:
        return Told("There are no agents.")
    rows = rows_that_fit("\n".join(_agent_rows(agent)) for agent in agents)
    if len(rows) < len(agents):
        rows.append(f"and {counted(len(agents) - len(rows), 'more agent')}")
    return Told("\n".join(rows))


def tell_end(report: RunReport) -> Told:
    """Return how a run has ended: its answer, or why there is none."""
    return Told(
        "\n".join((*_outcome(report), "", *_facts(report))),
        _meta(report),
        is_error=report.status != "succeeded",
    )


def tell_questions(report: RunReport) -> Told:
    """Return what a run waits for, and how to answer."""
    if not report.questions:  # who had the last answer has ended before the run went on
        said = (
            f"Run {report.run_id} of {report.agent} has its answers and has yet to go on with "
            f"them. Call answer_run with run_id {report.run_id!r} and the same answer once more."
        )
        return Told("\n".join((said, "", *_facts(report))), _meta(report))
    rows = [
        f"Run {report.run_id} of {report.agent} waits for a person's yes, and holds nothing "
        "meanwhile. Show your user what each call would do, and ask; then call answer_run with "
        f"run_id {report.run_id!r}, the call_id, and what the user says. Do not decide yourself.",
    ]
    rows += rows_that_fit(
        "\n".join(filter(None, ("", f"{_named(each, report)}: {each.asked}", each.preview)))
        for each in report.questions
    )
    return Told("\n".join((*rows, "", *_facts(report))), _meta(report))


def _named(question: Question, report: RunReport) -> str:
    of_another = f" of run {question.run_id!r}" if question.run_id != report.run_id else ""
    return f"call_id {question.call_id!r}{of_another}"


def tell_progress(report: RunReport, waited_s: float) -> Told:
    """Return how far a run has come that still goes on, and how to hear more."""
    rows = [
        f"Run {report.run_id} of {report.agent} is still under way after {waited_s:g} s, and goes "
        f"on (session {report.session_id}).",
        f"Call get_run with run_id {report.run_id!r} and after {report.last_step} to wait for its "
        "end; cancel_run stops it.",
        *_step_rows(report.steps),
    ]
    return Told("\n".join(rows), _meta(report))


def _agent_rows(agent: RunnableAgent) -> list[str]:
    if agent.problem:
        return [f"{agent.name}: cannot be run: {agent.problem}"]
    rows = [f"{agent.name}: {agent.description}"]
    for name, schema in agent.inputs.items():
        about = [str(schema.get("type", "any"))]
        if "enum" in schema:
            about = ["one of " + _json(schema["enum"])]
        if name in agent.required:
            about.append("required")
        elif "default" in schema:
            about.append(f"default {_json(schema['default'])}")
        described = f": {schema['description']}" if schema.get("description") else ""
        rows.append(f"  input {name} ({', '.join(about)}){described}")
    if agent.lacks:
        rows.append(f"  not granted here: {', '.join(agent.lacks)}")
    return rows


def _outcome(report: RunReport) -> list[str]:
    match report.status:
        case "succeeded":
            return [_cut(report)]
        case "interrupted":
            return [
                "The process that ran it has ended before the run. All its finished steps are on "
                f"record; 'workyard sessions resume {report.session_id}' lets it go on."
            ]
        case "cancelled":
            return ["The run was cancelled; what it had done until then is done, and on record."]
        case _:
            return [report.error or "The run failed."]


def _cut(report: RunReport) -> str:
    size = byte_size(report.answer)
    if size <= MAX_ANSWER_BYTES:
        return report.answer
    kept = report.answer.encode(errors="replace")[:MAX_ANSWER_BYTES].decode(errors="ignore")
    return (
        f"{kept}…\n(Cut: the answer has {size} bytes; 'workyard sessions show {report.session_id}' "
        "has all of it.)"
    )


def _facts(report: RunReport) -> list[str]:
    rows = [
        f"Run {report.run_id} of {report.agent} with {report.model}: {report.status}.",
        f"Session {report.session_id}; name it as session_id to go on with this conversation.",
        f"Used: {report.used}.",
    ]
    if not report.files:
        return [*rows, "Changed no files."]
    shown = report.files[:_MAX_FILES]
    more = len(report.files) - len(shown) + report.more_files
    rows.append("Changed:")
    rows += [f"  {_file_row(file)}" for file in shown]
    return [*rows, f"  and {more} more"] if more else rows


def _file_row(file: ChangedFile) -> str:
    name = f"{file.moved_from} → {file.path}" if file.moved_from else file.path
    counts = [
        f"{sign}{number}" for sign, number in (("+", file.added), ("-", file.removed)) if number
    ]
    return " ".join((name, file.kind, *counts))


def _step_rows(steps: Sequence[Step]) -> list[str]:
    shown = [step.line for step in steps[-_MAX_STEPS:]]
    left_out = len(steps) - len(shown)
    head = [f"({counted(left_out, 'earlier step')} not shown)"] if left_out else []
    return ["", *head, *shown] if shown else ["", "Nothing new has happened."]


def _meta(report: RunReport) -> dict[str, Any]:
    is_told = report.output is not None and byte_size(report.answer) <= MAX_ANSWER_BYTES
    return {
        RUN: {
            **({"output": report.output} if is_told else {}),
            "run_id": report.run_id,
            "session_id": report.session_id,
            "agent": report.agent,
            "model": report.model,
            "status": report.status,
            "last_step": report.last_step,
            "usage": dict(report.usage),
            "files": [file.model_dump(exclude_none=True) for file in report.files[:_MAX_FILES]],
            "more_files": max(len(report.files) - _MAX_FILES, 0) + report.more_files,
        }
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
