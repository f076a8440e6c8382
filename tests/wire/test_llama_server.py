"""What llama.cpp's server (build 11434) has said, with Qwen2.5-Coder-1.5B-Instruct."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import LimitError
from orchestrator.models.user_settings import FILE
from orchestrator.settings import load_settings
from tests.orchestrator.by_hand import rows
from tests.wire.conftest import Served
from tests.wire.script import Heard, always

MODEL = "lab:qwen2.5-coder-1.5b"
_ID = '"id":"chatcmpl-KNOr6SMB8j662aEuzRMsukRFt2asI1KK","model":"qwen2.5-coder-1.5b"'
_FRAME = (
    'data: {"choices":[{"finish_reason":%s,"index":0,"delta":%s}],"created":1795966876,'
    + _ID
    + ',"system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}\n\n'
)
_USAGE = (
    'data: {"choices":[],"created":1795966892,'
    + _ID
    + ',"system_fingerprint":"b0-unknown","object":"chat.completion.chunk",'
    '"usage":{"completion_tokens":61,"prompt_tokens":1152,"total_tokens":1213,'
    '"prompt_tokens_details":{"cached_tokens":1059}},"timings":{"cache_n":1059,"prompt_n":93,'
    '"prompt_ms":12516.774,"predicted_n":61,"predicted_ms":15655.133}}\n\n'
)
_BEGIN = ("null", '{"role":"assistant","content":null}')
_CALL = (
    "null",
    '{"tool_calls":[{"index":0,"id":"OFOEOjEeIkzfH8G4Ljbyu5VSQV1MyIBP","type":"function",'
    '"function":{"name":"list_directory","arguments":"{"}}]}',
)
_SAME_ID = ("null", _CALL[1].replace('"index":0', '"index":1'))
_SAME_ID_MORE = ("null", '{"tool_calls":[{"index":1,"function":{"arguments":"}"}}]}')
_MORE = ("null", '{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}')
_TEXT = ("null", '{"content":"There is one file."}')


def heard(*deltas: tuple[str, str], why: str, usage: str = _USAGE) -> Heard:
    frames = (_FRAME % delta for delta in (_BEGIN, *deltas, (f'"{why}"', "{}")))
    return Heard(("".join(frames) + usage + "data: [DONE]\n\n").encode())


CALLS = heard(_CALL, _MORE, why="tool_calls")
SAYS = heard(_TEXT, why="stop")


@pytest.fixture
async def yard(served: Served, project: Path, tmp_path: Path) -> AsyncIterator[Orchestrator]:
    """Open a yard whose own server is the served wire, with an agent `lister`."""
    config = load_settings().config_dir
    config.mkdir(parents=True, exist_ok=True)
    server = f'[providers.lab]\nkind = "openai-chat"\nbase_url = "{served.base_url}/v1"\n'
    (config / FILE).write_text(server, encoding="utf-8")
    (tmp_path / "lister.yaml").write_text(
        "name: lister\ndescription: d\ninstructions: List what there is.\ncapabilities:\n"
        "  - WorkspaceTools: {tools: [list_directory], read: ['**']}\n"
        "  - Budget: {total_tokens: 1500}\n"
    )
    opening = Orchestrator.open(project, specs=tmp_path, connect=InProcessConnection)
    async with opening as opened:
        yield opened


async def test_call_is_made_and_its_answer_understood(served: Served, yard: Orchestrator) -> None:
    wire = served.play([CALLS, SAYS])

    run = await yard.run("lister", "Go.", model=MODEL)

    assert run.output == "There is one file."
    assert (run.usage.tool_calls, run.usage.input_tokens, run.usage.output_tokens) == (1, 2304, 122)
    assert "entr" in wire.requests[1].tool_results[0]


async def test_limit_of_tokens_holds_where_the_server_counts_none(
    served: Served, yard: Orchestrator
) -> None:
    """llama-cpp-python's server says nothing of tokens where it streams."""
    wire = served.play(always(heard(_CALL, _MORE, why="tool_calls", usage="")))

    with pytest.raises(LimitError, match="The budget of 1500 tokens is used up"):
        await yard.run("lister", "Go. " * 500, model=MODEL)

    assert len(wire.requests) == 3
    counted = rows("SELECT input_tokens + output_tokens FROM run")
    assert counted[0][0] > 1500, "what was guessed is on record"


async def test_calls_of_one_answer_with_one_id_are_told_apart(
    served: Served, yard: Orchestrator
) -> None:
    """GLM, DeepSeek and Kimi have done so; Pydantic AI ends a run there."""
    twice = heard(_CALL, _MORE, _SAME_ID, _SAME_ID_MORE, why="tool_calls")
    wire = served.play([twice, SAYS])

    run = await yard.run("lister", "Go.", model=MODEL)

    assert (run.output, run.usage.tool_calls) == ("There is one file.", 2)
    *_, asked, first, second = wire.requests[1].body["messages"]
    ids = [call["id"] for call in asked["tool_calls"]]
    assert ids == [first["tool_call_id"], second["tool_call_id"]]
    assert ids[1] == f"{ids[0]}_2"
    assert rows("SELECT count(*) FROM tool_call") == [(2,)]
