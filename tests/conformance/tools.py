"""The suite's tools: each does what the suite prescribes for its name, and nothing else."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from tests.conformance.contents import (
    AUDIO,
    DEFAULTS,
    ENUMS,
    asked,
    embedded,
    form,
    image,
    sampled,
    text,
)

Context = ServerRequestContext[Any]
Params = types.CallToolRequestParams
Asked = types.CallToolResult | types.InputRequiredResult | types.GetPromptResult
Tool = Callable[[Context, Params], Awaitable[Asked]]

MULTIPLE = {"user_name": asked(), "greeting": sampled("Hello"), "roots": types.ListRootsRequest()}


def asks_for_context() -> types.InputRequiredResult:
    """Return the question of the suite's prompt that needs an answer first."""
    question = asked("What context should the prompt use?", context={"type": "string"})
    return types.InputRequiredResult(input_requests={"user_context": question})


def _done(*blocks: types.ContentBlock) -> types.CallToolResult:
    return types.CallToolResult(content=[*blocks])


def _fixed(*blocks: types.ContentBlock, is_error: bool = False) -> Tool:
    async def call(_: Context, __: Params) -> Asked:
        return types.CallToolResult(content=[*blocks], is_error=is_error)

    return call


async def _logging(context: Context, _: Params) -> Asked:
    for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await context.session.send_log_message("info", said, related_request_id=context.request_id)
    return _done(text("logged"))


async def _progress(context: Context, _: Params) -> Asked:
    for step in (0, 50, 100):
        await context.session.report_progress(step, 100, f"Completed step {step} of 100")
    return _done(text("done"))


async def _sampling(context: Context, params: Params) -> Asked:
    said = types.SamplingMessage(role="user", content=text((params.arguments or {})["prompt"]))
    answer = await context.session.create_message(
        [said], max_tokens=100, related_request_id=context.request_id
    )
    return _done(text(f"LLM response: {answer.content}"))


def _eliciting(schema: dict[str, Any]) -> Tool:
    async def call(context: Context, params: Params) -> Asked:
        message = (params.arguments or {}).get("message", "Please answer")
        answer = await context.session.elicit(message, schema, context.request_id)
        content = json.dumps(answer.content)
        return _done(text(f"User response: action={answer.action}, content={content}"))

    return call


async def _missing_capability(context: Context, _: Params) -> Asked:
    declared = context.session.client_capabilities
    if declared is None or declared.sampling is None:
        raise MCPError(
            code=types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="This tool requires the client's sampling.",
            data={"requiredCapabilities": {"sampling": {}}},
        )
    return _done(text("declared"))


def changing(specs: Path) -> Tool:
    """Return the tool that changes the list of prompts, as a user does: by writing a spec."""

    async def call(_: Context, __: Params) -> Asked:
        name = f"agent_{len([*specs.iterdir()])}"
        spec = f"name: {name}\ndescription: Reads.\ninstructions: Read.\n"
        (specs / f"{name}.yaml").write_text(spec)
        return _done(text("changed"))

    return call


def _requiring(requests: dict[str, Any], state: str | None = None) -> Tool:
    async def call(_: Context, params: Params) -> Asked:
        answers = params.input_responses or {}
        if requests.keys() <= answers.keys() and params.request_state == state:
            told = ", ".join(f"{name}: {answer}" for name, answer in answers.items())
            return _done(text(f"state-ok: {told}"))
        return types.InputRequiredResult(input_requests=requests, request_state=state)

    return call


async def _multi_round(_: Context, params: Params) -> Asked:
    answers = params.input_responses or {}
    if params.request_state == "1" and "step1" in answers:
        question = asked("Step 2: What is your favorite color?", color={"type": "string"})
        return types.InputRequiredResult(input_requests={"step2": question}, request_state="2")
    if params.request_state == "2" and "step2" in answers:
        return _done(text("done"))
    question = asked("Step 1: What is your name?")
    return types.InputRequiredResult(input_requests={"step1": question}, request_state="1")


async def _capabilities(context: Context, _: Params) -> Asked:
    declared = context.session.client_capabilities
    requests: dict[str, Any] = {}
    if declared is not None and declared.sampling is not None:
        requests["sample"] = sampled("Say hello")
    if declared is not None and declared.elicitation is not None:
        requests["ask"] = asked()
    return types.InputRequiredResult(input_requests=requests, request_state="gated")


_CONFIRM = {"confirm": asked("Please confirm", ok={"type": "boolean"})}
_REQUIRED = "test_input_required_result_"

TOOLS: dict[str, Tool] = {
    "test_simple_text": _fixed(text("This is a simple text response for testing.")),
    "test_image_content": _fixed(image()),
    "test_audio_content": _fixed(
        types.AudioContent(type="audio", data=AUDIO, mime_type="audio/wav")
    ),
    "test_embedded_resource": _fixed(
        embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    ),
    "test_multiple_content_types": _fixed(
        text("Multiple content types test:"),
        image(),
        embedded("test://mixed-content-resource", "application/json", '{"test": "data"}'),
    ),
    "test_error_handling": _fixed(
        text("This tool intentionally returns an error for testing"), is_error=True
    ),
    "test_tool_with_logging": _logging,
    "test_tool_with_progress": _progress,
    "test_sampling": _sampling,
    "test_elicitation": _eliciting(form(response={"type": "string"})),
    "test_elicitation_sep1034_defaults": _eliciting(DEFAULTS),
    "test_elicitation_sep1330_enums": _eliciting(ENUMS),
    "test_x_mcp_header": _fixed(text("region")),
    "test_missing_capability": _missing_capability,
    "json_schema_2020_12_tool": _fixed(text("schema")),
    f"{_REQUIRED}elicitation": _requiring({"user_name": asked()}),
    f"{_REQUIRED}sampling": _requiring({"capital_question": sampled("The capital of France?")}),
    f"{_REQUIRED}list_roots": _requiring({"client_roots": types.ListRootsRequest()}),
    f"{_REQUIRED}request_state": _requiring(_CONFIRM, "nonce"),
    f"{_REQUIRED}tampered_state": _requiring(_CONFIRM, "round-1"),
    f"{_REQUIRED}multiple_inputs": _requiring(MULTIPLE, "multiple"),
    f"{_REQUIRED}multi_round": _multi_round,
    f"{_REQUIRED}capabilities": _capabilities,
}
