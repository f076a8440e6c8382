"""Each agent is a prompt: what it asks for, what it says, and what it says of a wrong argument."""

from pathlib import Path

import pytest
from mcp_types import INVALID_PARAMS

from mcp_server.fence.grant import TOOL_NAMES, Grant
from mcp_server.ports import Offers
from tests.orchestrator.served import EDITOR, ERAS, Era, desk, refused, runner

TWIN = """
name: twin
description: d
instructions: "Do this {{how}}: {{task}}"
deps_schema:
  type: object
  properties: {task: {type: string, default: nothing}, how: {type: string, default: loudly}}
"""

EITHER = pytest.mark.parametrize("era", ERAS)


@EITHER
async def test_each_agent_is_a_prompt_with_its_inputs(tmp_path: Path, era: Era) -> None:
    async with desk(tmp_path, era) as at:
        prompts = {each.name: each for each in (await at.client.list_prompts()).prompts}

    assert list(prompts) == ["run_agent", "editor", "idler"]
    asked = {
        name: [(each.name, each.required) for each in prompt.arguments or ()]
        for name, prompt in prompts.items()
    }
    assert asked == {
        "run_agent": [("agent", True), ("task", True)],
        "editor": [("chapter_path", True), ("tone", False), ("strict", False), ("task", True)],
        "idler": [("task", True)],
    }
    assert prompts["editor"].description == "Edits one chapter."
    told = {each.name: each.description for each in prompts["editor"].arguments or ()}
    assert told["tone"] == "How it sounds. One of: dry, warm, wry. Default: dry"


@EITHER
async def test_role_is_told_word_for_word_and_within_its_grant(tmp_path: Path, era: Era) -> None:
    async with desk(tmp_path, era) as at:
        text = await at.prompt("editor", chapter_path="book/one.md", tone="wry", task="Shorten it.")

    assert "<instructions>\nEdit book/one.md in a wry tone. <b>&\n</instructions>" in text
    assert "<task>\nShorten it.\n</task>" in text
    assert "and no others: read_file, edit_file." in text
    assert "Create, change or delete only what one of these globs matches: 'book/*.md'." in text


async def test_tools_that_the_server_does_not_offer_are_said_to_be_missing(tmp_path: Path) -> None:
    grant = Grant(tools=("read_file", "grep"), read=("**",))
    async with desk(tmp_path, grant=grant) as at:
        text = await at.prompt("editor", chapter_path="a", task="t")
        idle = await at.prompt("run_agent", agent="idler", task="t")

    assert "and no others: read_file.\n" in text
    assert "which are not here: edit_file." in text
    assert "- Use no tools.\n- Read nothing.\n- Create, change or delete nothing.\n" in idle


async def test_user_chooses_who_does_the_work_where_agents_can_be_run(tmp_path: Path) -> None:
    async with desk(tmp_path, offers=Offers(runner=runner())) as at:
        here = await at.prompt("editor", chapter_path="a", task="t")
        run = await at.prompt("editor", chapter_path="a", strict="true", task="t", how="run")
        ways = await at.complete("editor", "how", "")
        wrong = await refused(at.prompt("idler", task="t", how="there"))

    assert here.startswith("Take the role of the agent 'editor'")
    assert "call the tool 'run_agent'" in run
    assert '"inputs": {\n    "chapter_path": "a",\n    "strict": true\n  }' in run
    assert ways == ["here", "run"]
    assert wrong.message == "Argument 'how' is 'there'; it is 'here' or 'run'."


async def test_inputs_that_are_called_as_our_own_arguments_are_asked_for_once(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, offers=Offers(runner=runner())) as at:
        at.write("twin", TWIN)
        at.write("run_agent", TWIN.replace("name: twin", "name: run_agent"))
        prompts = {each.name: each for each in (await at.client.list_prompts()).prompts}
        text = await at.prompt("twin", task="Sing.", how="softly")
        names = [each.name for each in (await at.client.list_prompts()).prompts]

    assert [each.name for each in prompts["twin"].arguments or ()] == ["how", "task"]
    assert "Do this softly: Sing." in text
    assert names == ["run_agent", "editor", "idler", "twin"]


@EITHER
@pytest.mark.parametrize(
    ("prompt", "arguments", "message"),
    [
        ("editr", {"task": "t"}, "There is no prompt 'editr'; did you mean 'editor'?"),
        (
            "editor",
            {"task": "t"},
            "Prompt 'editor' needs the argument 'chapter_path': The chapter.",
        ),
        (
            "editor",
            {"chapter_path": " ", "task": "t"},
            "Prompt 'editor' needs the argument 'chapter_path': The chapter.",
        ),
        (
            "idler",
            {"task": "t", "tsk": "t"},
            "Prompt 'idler' has no argument 'tsk'; did you mean 'task'?",
        ),
        (
            "editor",
            {"chapter_path": "a", "tone": "loud", "task": "t"},
            "Input tone of agent 'editor': 'loud' is not one of ['dry', 'warm', 'wry'].",
        ),
        (
            "editor",
            {"chapter_path": "a", "strict": "perhaps", "task": "t"},
            "Input 'strict' of agent 'editor' is of type boolean, not 'perhaps'.",
        ),
        (
            "run_agent",
            {"agent": "idlr", "task": "t"},
            "There is no agent 'idlr'; did you mean 'idler'?",
        ),
        (
            "run_agent",
            {"agent": "editor", "task": "t"},
            "Agent 'editor' also needs 'chapter_path', for which the prompt 'run_agent' has no "
            "argument. Use the prompt 'editor', which asks for it.",
        ),
    ],
)
async def test_wrong_argument_gets_a_sentence(
    tmp_path: Path, era: Era, prompt: str, arguments: dict[str, str], message: str
) -> None:
    async with desk(tmp_path, era) as at:
        error = await refused(at.client.get_prompt(prompt, arguments))

    assert (error.code, error.message) == (INVALID_PARAMS, message)


@EITHER
async def test_broken_spec_hides_no_other_and_says_what_is_wrong(
    tmp_path: Path, era: Era, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path, era) as at:
        at.write("broken", "name: broken\ndescription: d\nmodle: x\ninstructions: i\n")
        names = [each.name for each in (await at.client.list_prompts()).prompts]
        errors = [
            await refused(at.client.get_prompt("broken", {"task": "t"})),
            await refused(at.client.get_prompt("run_agent", {"agent": "broken", "task": "t"})),
        ]

    assert names == ["run_agent", "editor", "idler"]
    for error in errors:
        assert error.code == INVALID_PARAMS
        assert error.message.startswith("Spec 'broken.yaml' cannot be used, line 3: modle: ")
        assert str(tmp_path) not in error.message
    assert "broken.yaml:3: modle" in caplog.text


async def test_spec_that_asks_for_what_no_grant_can_give_is_broken(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        at.write("editor", EDITOR.replace("edit_file", "edit_all"))
        error = await refused(at.prompt("editor", chapter_path="a", task="t"))

    assert "there is no tool 'edit_all'" in error.message


@EITHER
async def test_arguments_are_completed(tmp_path: Path, era: Era) -> None:
    async with desk(tmp_path, era) as at:
        assert await at.complete("run_agent", "agent", "ED") == ["editor"]
        assert await at.complete("editor", "tone", "w") == ["warm", "wry"]
        assert await at.complete("editor", "strict", "") == ["true", "false"]
        assert await at.complete("editor", "task", "any") == []
        assert await at.complete("editor", "chapter_path", "b") == ["book/"]
        assert await at.complete("editor", "chapter_path", "book/") == ["book/one.md"]
        unknown = [
            await refused(at.complete("editor", "tne", "")),
            await refused(at.complete("nobody", "tone", "")),
        ]

    assert [error.code for error in unknown] == [INVALID_PARAMS] * 2
    assert "it takes 'chapter_path', 'tone'" in unknown[0].message


@pytest.mark.parametrize("typed", ["../", "/", "nope/", ".git/", "secret/", "\0", "book/../../"])
async def test_completion_shows_nothing_that_the_grant_hides(tmp_path: Path, typed: str) -> None:
    grant = Grant(tools=TOOL_NAMES, read=("book/**",), deny=("secret",))
    async with desk(tmp_path, grant=grant) as at:
        for name in ("secret", ".git", "notes"):
            (at.root / name).mkdir()
            (at.root / name / "a.md").write_text("")
        (tmp_path / "outside.md").write_text("")

        assert await at.paths("") == ["book/"]
        assert await at.paths(typed) == []


async def test_completion_lists_nothing_where_listing_is_not_granted(tmp_path: Path) -> None:
    async with desk(tmp_path, grant=Grant(tools=("read_file",), read=("**",))) as at:
        assert await at.paths("") == []


async def test_at_most_a_hundred_values_are_completed(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        for number in range(150):
            (at.root / "book" / f"p{number:03}.md").write_text("")
        found = await at.completion("book/p")

    assert len(found.values) == 100
    assert (found.total, found.has_more) == (150, True)
