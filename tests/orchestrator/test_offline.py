"""The model without an LLM: what it asks for, what it answers, and that its citations are true."""

import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Literal

import pytest
from fastmcp.client.transports import StdioTransport
from pydantic import BaseModel
from pydantic_ai import (
    Agent,
    ModelRetry,
    NativeOutput,
    PromptedOutput,
    UsageLimits,
    UserError,
)
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputSpec
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import FunctionToolset

from orchestrator.offline import OfflineModel
from orchestrator.offline.turn import TOOLS

TREE = {
    "README.md": """\
# Yard

A yard where agents work.

## Install

```sh
pip install yard
```

`make test` runs the tests.
""",
    "docs/fence.md": f"""\
# Confinement

Every path is resolved beneath the root directory, so an agent cannot leave it.

Whoever asks for more
gets a polite refusal.

- Links are followed only inside the root.
- A budget limits requests.

{"Filler without an end. " * 30}The needle lies here. {"More filler after it. " * 30}
""",
    "src/fence.py": '''\
"""Keeps callers inside one directory."""

import os


class WorkspaceFence:
    """Resolves paths beneath a root directory."""

    def resolve_path(self, path: str) -> str:
        """Return the path, or refuse it when it leaves the root."""
        return os.path.normpath(path)
''',
    "src/budget.py": '''\
class Budget:
    """Limits what a run may use: requests, tokens and cost."""
''',
    "tests/test_budget.py": """\
def test_a_budget_limits_requests() -> None:
    assert True
""",
    "tests/test_fence.py": """\
def test_a_fence_resolves_paths() -> None:
    assert True
""",
}

GREP_ANSWER = """\
3 matches in 2 files
docs/x.md:3:main entry
src/app.py:12:def entry():
src/app.py:40:    entry()
… 120 more matches left out; narrow by path or glob."""
READ_ANSWER = """\
src/app.py · lines 10-14 of 120 · 3214 bytes · sha256 1a2b3c4d5e6f
    10\timport sys
    11\t
    12\tdef entry():
    13\t    \"\"\"Begin here.\"\"\"
    14\t    return sys.argv
… 106 more lines; go on with offset=15."""
ANSWER = """\
Offline: no language model is configured; these are the passages that match best.

src/app.py:12

    def entry():
        \"\"\"Begin here.\"\"\"
        return sys.argv

docs/x.md:3

    main entry

src/app.py:40

        entry()"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path, text in TREE.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


def _read(root: Path, path: str) -> list[str]:
    return (root / path).read_text(encoding="utf-8").splitlines()


def _shown(line: str, match: int) -> str:
    if len(line) < 300:
        return line
    return f"…{line[match - 100 : match + 200]}… ({len(line)} characters in this line)"


def workspace_tools(root: Path) -> FunctionToolset[None]:
    """Offer the server's tools, in its formats, without the server."""
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())

    def list_directory(path: str = ".", depth: int = 1) -> str:
        folders = sorted({f"{Path(path).parent}/" for path in paths if "/" in path})
        files = [f"{path}\t{(root / path).stat().st_size}" for path in paths]
        return "\n".join([f"{path} · {len(folders + files)} entries", *folders, *files])

    def grep(pattern: str, path: str = ".", ignore_case: bool = False) -> str:
        form = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
        found = [
            f"{path}:{number}:{_shown(line, match.start())}"
            for path in paths
            for number, line in enumerate(_read(root, path), 1)
            if (match := form.search(line))
        ]
        head = f"{len(found)} matches in {len({line.split(':')[0] for line in found})} files"
        return "\n".join([head, *found]) if found else f"No matches for {pattern!r} under {path!r}."

    def read_file(path: str, offset: int = 1, limit: int = 1000) -> str:
        if path not in paths:
            raise ToolFailed(f"File {path!r} does not exist.")
        lines = _read(root, path)
        page = list(enumerate(lines, 1))[offset - 1 :][:limit]
        head = (
            f"{path} · lines {offset}-{page[-1][0]} of {len(lines)} · 9 bytes · sha256 1a2b3c4d5e6f"
        )
        rest = [f"… go on with offset={offset + limit}."] if len(lines) >= offset + limit else []
        return "\n".join([head, *(f"{number:6}\t{line}" for number, line in page), *rest])

    return FunctionToolset[None]([list_directory, grep, read_file])


def yard_agent(root: Path) -> Agent[None, str]:
    return Agent(OfflineModel(), toolsets=[workspace_tools(root)])


def citations(root: Path, answer: str) -> list[str]:
    """Return every `path:line` of an answer, having compared what is quoted there with the file."""
    cited = []
    for path, first, quoted in re.findall(
        r"^(\S+):(\d+)\n\n((?:    .*\n?)+)", answer, re.MULTILINE
    ):
        cited.append(f"{path}:{first}")
        lines = _read(root, path)[int(first) - 1 :]
        for quote_line, line in zip(quoted.splitlines(), lines, strict=False):
            shown = quote_line.removeprefix("    ")
            assert shown.strip("…") in line
            assert shown == line or "…" in shown
    return cited


def calls_of(result: AgentRunResult[str]) -> list[list[ToolCallPart]]:
    return [m.tool_calls for m in result.all_messages() if isinstance(m, ModelResponse)]


async def ask(*messages: ModelMessage, tools: set[str]) -> ModelResponse:
    offered = [ToolDefinition(name=name) for name in sorted(tools)]
    parameters = ModelRequestParameters(function_tools=offered)
    return await OfflineModel().request(list(messages), None, parameters)


def exchange(
    tool: str,
    answer: str,
    arguments: dict[str, object],
    outcome: Literal["success", "interrupted"] = "success",
) -> list[ModelMessage]:
    call = ToolCallPart(tool, arguments, tool_call_id=tool)
    returned = ToolReturnPart(tool, answer, tool_call_id=tool, outcome=outcome)
    return [ModelResponse(parts=[call]), ModelRequest(parts=[returned])]


def prompt(text: str) -> ModelRequest:
    return ModelRequest(parts=[UserPromptPart(text)])


class TestAnswers:
    @pytest.mark.parametrize(
        ("question", "first"),
        [
            ("How is an agent confined to its root directory?", "docs/fence.md:3"),
            ("What does the Budget limit?", "src/budget.py:1"),
            ("How do I install it?", "README.md:5"),
            ("Where is WorkspaceFence defined?", "src/fence.py:6"),
            ("what does resolve_path return", "src/fence.py:9"),
            ('who said "needle lies"?', "docs/fence.md:11"),
            ("Who gets a refusal?", "docs/fence.md:5"),
            ("What is in src/budget.py?", "src/budget.py:1"),
            ("What is this project?", "README.md:1"),
            ("How do I run the tests?", "README.md:11"),
            ("Where are budgets tested?", "tests/test_budget.py:1"),
        ],
    )
    async def test_best_passage_comes_first_and_every_citation_is_true(
        self, root: Path, question: str, first: str
    ) -> None:
        result = await yard_agent(root).run(question)
        assert citations(root, result.output)[0] == first

    async def test_answer_begins_by_saying_that_no_language_model_wrote_it(
        self, root: Path
    ) -> None:
        result = await yard_agent(root).run("How do I install it?")
        assert result.output.startswith("Offline: no language model is configured;")

    async def test_same_question_gets_the_same_answer(self, root: Path) -> None:
        """Tests, benchmarks and the demo compare answers."""
        first = await yard_agent(root).run("How is the root directory kept?")
        second = await yard_agent(root).run("How is the root directory kept?")
        assert first.output == second.output
        assert calls_of(first) == calls_of(second)

    async def test_long_line_is_quoted_around_the_match(self, root: Path) -> None:
        result = await yard_agent(root).run("where is the needle?")
        [quoted] = [line for line in result.output.splitlines() if "needle lies" in line]
        assert quoted.startswith("    …")
        assert quoted.endswith("…")
        assert citations(root, result.output)[0] == "docs/fence.md:11"

    async def test_word_that_is_nowhere_is_named_beside_what_was_found(self, root: Path) -> None:
        """An answer about the other words must not look like one about this word."""
        result = await yard_agent(root).run("Does the budget know Kubernetes?")
        assert "Nothing matches 'Kubernetes'." in result.output
        assert citations(root, result.output)

    async def test_nothing_found_says_so_and_lists_what_is_there(self, root: Path) -> None:
        result = await yard_agent(root).run("Where is the zeppelin?")
        assert "no line matches 'zeppelin'" in result.output
        assert "README.md" in result.output
        assert citations(root, result.output) == []

    async def test_unknown_identifier_is_looked_for_by_its_parts(self, root: Path) -> None:
        result = await yard_agent(root).run("What does PathResolver do?")
        assert "Nothing matches 'PathResolver'." in result.output
        assert any(cited.startswith("src/fence.py") for cited in citations(root, result.output))

    @pytest.mark.parametrize("subject", ["budget", "fence"])
    async def test_short_follow_up_leans_on_the_question_before(
        self, root: Path, subject: str
    ) -> None:
        agent = yard_agent(root)
        first = await agent.run(f"What does the {subject} do?")
        second = await agent.run("and where is that tested?", message_history=first.all_messages())
        assert citations(root, second.output)[0] == f"tests/test_{subject}.py:1"


class TestMessages:
    """The model is a function of the messages: any run can be taken up from them."""

    async def test_answer_follows_from_what_the_tools_returned(self) -> None:
        response = await ask(
            prompt("Where is the entry?"),
            *exchange("grep", GREP_ANSWER, {"pattern": "entry"}),
            *exchange("read_file", READ_ANSWER, {"path": "src/app.py", "offset": 10}),
            tools=set(TOOLS),
        )
        assert response.text == ANSWER

    async def test_match_beyond_where_a_page_cuts_its_line_is_kept(self) -> None:
        found = "1 match in 1 file\na.txt:1:…a needle… (9999 characters in this line)"
        page = (
            "a.txt · lines 1-1 of 1 · 9999 bytes · sha256 1a2b3c4d5e6f\n"
            "     1\tIt begins… (cut here: the line has 9999 characters)"
        )
        response = await ask(
            prompt("Where is the needle?"),
            *exchange("grep", found, {}),
            *exchange("read_file", page, {"offset": 1}),
            tools=set(TOOLS),
        )
        assert response.text is not None
        assert response.text.endswith("a.txt:1\n\n    …a needle…")

    async def test_interrupted_search_is_made_up_for(self) -> None:
        """A resumed run finds calls that were never answered."""
        response = await ask(
            prompt("Where is the entry?"),
            *exchange("grep", "Interrupted.", {"pattern": "entry"}, outcome="interrupted"),
            tools=set(TOOLS),
        )
        assert {call.tool_name for call in response.tool_calls} == {"grep"}

    async def test_only_what_follows_the_latest_prompt_counts(self) -> None:
        response = await ask(
            prompt("Where is the entry?"),
            *exchange("grep", GREP_ANSWER, {"pattern": "entry"}),
            prompt("Where is the exit?"),
            tools=set(TOOLS),
        )
        first, *_ = response.tool_calls
        assert (first.tool_name, first.tool_call_id) == ("list_directory", "offline-2-1")


class TestServer:
    async def test_real_server_takes_every_pattern_and_its_answers_are_understood(
        self, root: Path
    ) -> None:
        server = StdioTransport(
            sys.executable, ["-P", "-m", "mcp_server", "--root", str(root)], keep_alive=False
        )
        toolset = MCPToolset[None](server, tool_error_behavior="failed", init_timeout=30)
        async with Agent(OfflineModel(), toolsets=[toolset]) as agent:
            needle = await agent.run("where is the needle?")
            strange = await agent.run(
                'is "a & b ~ #c - d <x> 9%" or `f(x)[{` an agent, C++ or é-ü?'
            )
            named = await agent.run("What is in src/fence.py?")
        assert citations(root, needle.output)[0] == "docs/fence.md:11"
        assert citations(root, named.output)[0] == "src/fence.py:1"
        assert citations(root, strange.output)
        assert "calls failed" not in needle.output + strange.output + named.output


class TestSteps:
    async def test_first_response_lists_and_searches_in_parallel(self) -> None:
        response = await ask(prompt("Who may edit files?"), tools={"list_directory", "grep"})
        assert response.finish_reason == "tool_call"
        assert [call.tool_name for call in response.tool_calls][:2] == ["list_directory", "grep"]

    async def test_best_places_are_read_before_the_answer(self, root: Path) -> None:
        result = await yard_agent(root).run("What does the Budget limit?")
        searched, read, answered = calls_of(result)
        assert {call.tool_name for call in searched} == {"list_directory", "grep"}
        assert {call.tool_name for call in read} == {"read_file"}
        assert answered == []

    async def test_only_offered_tools_are_called(self) -> None:
        response = await ask(prompt("Who may edit files?"), tools={"read_file", "grep", "delete"})
        assert {call.tool_name for call in response.tool_calls} == {"grep"}

    async def test_names_and_contents_do_where_no_search_is_offered(self, root: Path) -> None:
        tools = workspace_tools(root).filtered(lambda _, tool: tool.name != "grep")
        result = await Agent(OfflineModel(), toolsets=[tools]).run("What does the budget limit?")
        assert citations(root, result.output)[0] == "src/budget.py:1"

    async def test_tool_call_ids_are_unique_over_the_conversation(self, root: Path) -> None:
        """The record knows a call by its id."""
        agent = yard_agent(root)
        first = await agent.run("What does the Budget limit?")
        second = await agent.run("How do I install it?", message_history=first.all_messages())
        ids = [call.tool_call_id for calls in calls_of(second) for call in calls]
        assert len(ids) == len(set(ids))
        assert ids[0] == "offline-1-1"

    async def test_agent_without_tools_is_told_so(self) -> None:
        result = await Agent(OfflineModel()).run("How do I install it?")
        assert "none of the tools list_directory, grep, read_file" in result.output

    @pytest.mark.parametrize(
        "output_type", [BaseModel, PromptedOutput(BaseModel), NativeOutput(BaseModel)]
    )
    async def test_output_schema_is_refused(self, output_type: OutputSpec[BaseModel]) -> None:
        agent = Agent(OfflineModel(), output_type=output_type)
        with pytest.raises(UserError, match=r"offline model answers in text|not supported"):
            await agent.run("How do I install it?")

    async def test_refused_output_is_not_taken_for_a_question(self, root: Path) -> None:
        agent = yard_agent(root)
        seen: list[str] = []

        @agent.output_validator
        def refuse_the_first(output: str) -> str:
            seen.append(output)
            if len(seen) == 1:
                raise ModelRetry("Say it again.")
            return output

        await agent.run("How do I install it?")
        assert seen[0] == seen[1]


class TestFailures:
    async def test_failed_search_is_reported_and_the_rest_is_used(self, root: Path) -> None:
        def grep(pattern: str, ignore_case: bool = False) -> str:
            raise ToolFailed("ripgrep failed; the search was not done.\nMore.")

        tools = workspace_tools(root).filtered(lambda _, tool: tool.name != "grep")
        agent = Agent(OfflineModel(), toolsets=[tools, FunctionToolset[None]([grep])])
        result = await agent.run("What does the budget limit?")
        assert citations(root, result.output)[0] == "src/budget.py:1"
        assert result.output.endswith(
            "calls failed; grep: ripgrep failed; the search was not done."
        )

    async def test_tool_that_asks_for_a_retry_is_left_alone(self) -> None:
        """One more failure of a tool ends the run, by Pydantic AI's default of one retry."""

        def grep(pattern: str, ignore_case: bool = False) -> str:
            raise ModelRetry("Mind the pattern.")

        result = await Agent(OfflineModel(), tools=[grep]).run("Where is the budget?")
        assert "calls failed; grep: Mind the pattern." in result.output
        assert "no line matches" not in result.output

    async def test_answer_in_another_form_than_the_tools_is_passed_over(self) -> None:
        def grep(pattern: str, ignore_case: bool = False) -> list[int]:
            return [1, 2]

        result = await Agent(OfflineModel(), tools=[grep]).run("Where is the budget?")
        assert "no line matches 'budget'" in result.output

    async def test_file_that_cannot_be_read_is_still_quoted_from_the_search(
        self, root: Path
    ) -> None:
        tools = workspace_tools(root).filtered(lambda _, tool: tool.name != "read_file")
        result = await Agent(OfflineModel(), toolsets=[tools]).run("Where is the needle?")
        assert citations(root, result.output) == ["docs/fence.md:11"]


class TestStreaming:
    async def test_text_comes_in_pieces_and_is_the_same_as_at_once(self, root: Path) -> None:
        agent = yard_agent(root)
        at_once = await agent.run("What does the Budget limit?")
        async with agent.run_stream("What does the Budget limit?") as stream:
            pieces = [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]
        assert len(pieces) > 10
        assert "".join(pieces) == at_once.output

    async def test_tool_calls_and_text_are_streamed_as_parts(self, root: Path) -> None:
        async with yard_agent(root).run_stream_events("How do I install it?") as events:
            kinds = [event.event_kind async for event in events]
        assert {"part_start", "part_delta", "part_end", "final_result"} <= {*kinds}
        assert kinds.count("function_tool_call") == kinds.count("function_tool_result") > 3

    async def test_cancelled_stream_says_no_more(self, root: Path) -> None:
        async with yard_agent(root).run_stream("How do I install it?") as stream:
            async for _ in stream.stream_text(delta=True, debounce_by=None):
                await stream.cancel()
        assert stream.response.state == "interrupted"
        assert stream.response.text == "Offline: "


class TestUsage:
    async def test_limits_hold_without_a_warning_and_the_cost_is_known_to_be_zero(
        self, root: Path
    ) -> None:
        """Warnings are errors here: an unknown cost or unmeasured tokens would raise."""
        limits = UsageLimits(
            cost_limit=Decimal("0.01"),
            total_tokens_limit=1,
            per_request_input_tokens_limit=1,
            count_tokens_before_request=True,
        )
        agent = yard_agent(root)
        result = await agent.run("How do I install it?", usage_limits=limits)
        async with agent.run_stream("How do I install it?", usage_limits=limits) as stream:
            await stream.get_output()
        for usage in (result.usage, stream.usage):
            assert (usage.requests, usage.total_tokens, usage.cost) == (3, 0, Decimal(0))
