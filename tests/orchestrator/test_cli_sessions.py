"""`workyard sessions`: found, shown, renamed, deleted, their state changed."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.settings import load_settings
from orchestrator.store.store import Store, open_store
from tests.orchestrator.by_hand import rows, workyard
from tests.orchestrator.turns import begin, begun_by_the_dead, turn, turn_with_calls

T = TypeVar("T")


def on_record(work: Callable[[Store], Awaitable[T]]) -> T:
    async def do() -> T:
        async with open_store(load_settings().effective_database_url) as store:
            return await work(store)

    return anyio.run(do)


def a_turn(prompt: str = "hello", **changes: str) -> str:
    return on_record(lambda store: turn(store, prompt, **changes))


def test_sessions_are_listed_as_filters_say_and_page_by_page() -> None:
    one, two, three = a_turn("till one"), a_turn("till two", agent="x"), a_turn("other")

    everything = workyard("sessions", "list")
    found = workyard("sessions", "list", "--search", "ONE till")
    first = workyard("sessions", "list", "--limit", "2")
    cursor = first.stderr.split("--cursor ")[1].strip()
    second = workyard("sessions", "list", "--limit", "2", "--cursor", cursor)

    assert [everything.stdout.count(each) for each in (one, two, three)] == [1, 1, 1]
    assert everything.stderr == ""
    assert [each in found.stdout for each in (one, two, three)] == [True, False, False]
    assert [each in first.stdout for each in (one, two, three)] == [False, True, True]
    assert [each in second.stdout for each in (one, two, three)] == [True, False, False]
    for option, value in (("--agent", "x"), ("--since", "1h"), ("--until", "2000-01-01")):
        listed = workyard("sessions", "list", option, value).stdout
        assert (two in listed) is (option != "--until")


def test_list_as_json_is_one_object() -> None:
    session_id = a_turn(owner="alice")

    listed = json.loads(workyard("sessions", "list", "--json", "--owner", "alice").stdout)
    nobody = json.loads(workyard("sessions", "list", "--json", "--owner", "bob").stdout)

    assert nobody == {"sessions": [], "damaged": [], "cursor": None}
    (session,) = listed["sessions"]
    assert (session["id"], session["status"], session["owner"]) == (session_id, "idle", "alice")


def test_session_of_a_dead_process_is_not_said_to_be_running() -> None:
    dead = anyio.run(begun_by_the_dead, load_settings().effective_database_url)

    async def list_beside_a_run(store: Store) -> tuple[str, str]:
        run = await begin(store)
        listed = await anyio.to_thread.run_sync(workyard, "sessions", "list")
        return run.session_id, listed.stdout

    living, listed = on_record(list_beside_a_run)

    running = [line for line in listed.splitlines() if "running" in line]
    assert [living in line for line in running] == [True]
    assert dead.session_id in listed


def test_damaged_session_is_named_with_the_way_to_be_rid_of_it_and_the_others_are_listed() -> None:
    whole, damaged = a_turn(), a_turn()
    rows("UPDATE session SET updated_at = ? WHERE id = ?", "\x1b[2J", damaged)

    listed = workyard("sessions", "list")
    as_json = json.loads(workyard("sessions", "list", "--json").stdout)
    shown = workyard("sessions", "show", damaged)

    assert (listed.exit_code, whole in listed.stdout, damaged in listed.stdout) == (0, True, False)
    assert f"Session {damaged} is damaged and not shown: " in listed.stderr
    assert "\x1b" not in listed.stderr
    assert [session["id"] for session in as_json["damaged"]] == [damaged]
    assert shown.exit_code == 6
    assert f"Session '{damaged}' is damaged" in shown.stderr
    assert f"'workyard sessions delete {damaged}'" in shown.stderr
    assert workyard("sessions", "delete", damaged, "--yes").exit_code == 0
    assert workyard("sessions", "list").stderr == ""


def test_time_that_is_none_is_refused() -> None:
    done = workyard("sessions", "list", "--since", "yesterday")

    assert done.exit_code == 2
    assert "write 2026-11-23" in done.stderr


def test_session_is_renamed() -> None:
    session_id = a_turn()

    assert workyard("sessions", "rename", session_id, "My till").exit_code == 0
    assert "My till" in workyard("sessions", "list").stdout


def test_session_is_deleted_for_good_once_that_is_meant() -> None:
    session_id = a_turn()

    asked = workyard("sessions", "delete", session_id)
    still = workyard("sessions", "list").stdout
    done = workyard("sessions", "delete", session_id, "--yes")

    assert (asked.exit_code, done.exit_code) == (2, 0)
    assert "say --yes" in asked.stderr
    assert session_id in still
    assert workyard("sessions", "show", session_id).exit_code == 3


def test_state_is_set_and_got() -> None:
    session_id = a_turn()

    done = workyard("sessions", "state", "set", session_id, 'plan={"a": [1]}', "who=me", "n=1")
    more = workyard("sessions", "state", "set", session_id, "n=null", "--expect", "1")
    stale = workyard("sessions", "state", "set", session_id, "n=2", "--expect", "1")
    got = workyard("sessions", "state", "get", session_id)

    assert (done.exit_code, more.exit_code, stale.exit_code) == (0, 0, 4)
    assert "at version 2, not 1" in stale.stderr
    assert json.loads(got.stdout) == {"plan": {"a": [1]}, "who": "me"}
    assert got.stderr == "version 2\n"
    assert json.loads(workyard("sessions", "state", "get", session_id, "who").stdout) == "me"


BAD_INPUT = [
    (["rename", "nope", "x"], 3, "no session"),
    (["delete", "nope", "--yes"], 3, "no session"),
    (["follow", "nope"], 3, "no session"),
    (["export", "nope"], 3, "no session"),
    (["export", "nope", "-o", "/nonexistent/x"], 2, "cannot be written"),
    (["import", "/nonexistent"], 2, "cannot be read"),
    (["import", "/dev/null"], 2, "is empty"),
    (["state", "get", "nope"], 3, "no session"),
    (["state", "set", "nope", "a=1"], 3, "no session"),
    (["state", "set", "nope", "a"], 2, "write KEY=VALUE"),
    (["list", "--cursor", "x"], 2, "is no cursor"),
    (["list", "--search", " "], 2, "search is empty"),
    (["list", "--owner", " "], 2, "owner"),
]


@pytest.mark.parametrize(("arguments", "code", "part"), BAD_INPUT)
def test_bad_input_gets_one_clear_line_and_its_exit_code(
    arguments: list[str], code: int, part: str
) -> None:
    done = workyard("sessions", *arguments)

    assert (done.exit_code, done.stdout) == (code, "")
    assert part in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_export_is_imported_from_a_file_and_from_stdin(tmp_path: Path) -> None:
    session_id = a_turn("What is \u2066 it?")
    file = tmp_path / "session.jsonl"
    file.write_text("old")

    written = workyard("sessions", "export", session_id, "-o", str(file))
    printed = workyard("sessions", "export", session_id)
    workyard("sessions", "delete", session_id, "--yes")
    back = workyard("sessions", "import", str(file))
    piped = CliRunner().invoke(app, ["sessions", "import", "-"], input=printed.stdout_bytes)

    assert (written.exit_code, written.stdout) == (0, "")
    assert file.stat().st_mode & 0o077 == 0
    assert file.read_bytes() == printed.stdout_bytes
    assert [each.name for each in tmp_path.iterdir()] == [file.name]
    assert back.stdout == f"{session_id}\n"
    assert piped.exit_code == 0
    assert piped.stdout.strip() not in ("", session_id)
    shown = workyard("sessions", "show", piped.stdout.strip()).stdout
    assert "What is \\u2066 it?" in shown


def test_messages_are_imported_for_an_agent_and_a_root(tmp_path: Path) -> None:
    session_id = a_turn("What is it?")
    file = tmp_path / "messages.json"
    workyard("sessions", "export", session_id, "--format", "messages", "-o", str(file))

    nobody = workyard("sessions", "import", str(file))
    done = workyard("sessions", "import", str(file), "--agent", "guide", "--root", str(tmp_path))

    assert nobody.exit_code == 2
    assert "--agent" in nobody.stderr
    listed = workyard("sessions", "list", "--root", str(tmp_path), "--search", "what is").stdout
    assert done.stdout.strip() in listed


def test_export_as_markdown_is_readable() -> None:
    text = workyard("sessions", "export", a_turn("Why?"), "--format", "markdown").stdout

    assert "> Why?" in text
    assert "\nhi\n" in text


def test_export_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "session.jsonl"
    file.write_text("old")

    done = workyard("sessions", "export", "nope", "-o", str(file))

    assert done.exit_code == 3
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_followed_session_is_shown_with_its_text() -> None:
    session_id = on_record(lambda store: turn_with_calls(store, ["a \x1b[2J result"]))

    shown = workyard("sessions", "follow", session_id)
    rest = workyard("sessions", "follow", session_id, "--after", "5", "--json")

    assert "● grep" in shown.stdout
    assert "done\n" in shown.stdout
    assert "succeeded" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert [json.loads(line)["seq"] for line in rest.stdout.splitlines()] == [6]
