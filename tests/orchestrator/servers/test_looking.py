"""`workyard servers` and `doctor`: what is registered, whether it works, and no secrets."""

import json

import pytest

from orchestrator.doctor import agents
from orchestrator.doctor.findings import Finding, Status
from orchestrator.doctor.servers import servers
from orchestrator.settings import load_settings
from tests.orchestrator.by_hand import workyard
from tests.orchestrator.servers.conftest import KEY, Desks, uses


def listed(*arguments: str) -> tuple[int, str]:
    done = workyard("servers", *arguments)
    return done.exit_code, done.stdout + done.stderr


def test_servers_are_listed_with_what_may_be_used_and_nothing_is_started(desks: Desks) -> None:
    desks.register("--password=hunter2", tools=["search", "create"], ask=["create"])
    desks.enter("wiki", url="http://127.0.0.1:1/s3cret-path", headers={"A": "${DESK_KEY}"})

    code, text = listed()

    desk, wiki = (" ".join(line.split()) for line in text.splitlines()[1:])
    assert code == 0
    assert "search, create create DESK_KEY" in desk
    assert wiki == "wiki address 127.0.0.1:1 those that a spec names DESK_KEY"
    for secret in (KEY, "hunter2", "s3cret-path"):
        assert secret not in text
        assert secret not in listed("--json")[1]
    assert desks.noted("start") == []


def test_one_can_be_asked_for_by_name(desks: Desks) -> None:
    desks.register()
    desks.register(name="other")

    (only,) = json.loads(listed("other", "--json")[1])["servers"]

    assert (only["name"], only["tools"], only["variables"]) == ("other", None, ["DESK_KEY"])
    assert listed("othre") == (
        3,
        "workyard: There is no MCP server 'othre'; did you mean 'other'? They are registered in "
        "servers.toml, beside models.toml.\n",
    )


def test_without_any_the_file_is_named(desks: Desks) -> None:
    assert listed() == (0, f"None is registered; {desks.file} would name them.\n")


def test_broken_file_is_one_line_and_exit_code_2(desks: Desks) -> None:
    desks.enter("a", comand=["x"])

    code, text = listed()

    assert (code, text.count("\n")) == (2, 1)
    assert "servers.toml:2: a.comand: there is no such setting; did you mean 'command'?" in text


def test_check_shows_the_tools_and_what_becomes_of_a_call(desks: Desks) -> None:
    desks.register(tools=["search", "create"], ask=["create"])
    desks.register("die", name="dead")

    code, text = listed("--check")
    dead, desk = json.loads(listed("--check", "--json")[1])["servers"]

    lines = [line.split() for line in text.splitlines()]
    assert code == 6
    assert ["desk", "search", "yes", "Does", "search."] in lines
    assert ["desk", "create", "with", "a", "yes", "Does", "create."] in lines
    assert ["desk", "echo", "no", "Does", "echo."] in lines
    assert "✗ cannot be opened: Connection closed (desk: no such ledger, key ***)." in text
    assert desk["tools"][0] == {
        "name": "search",
        "description": "Does search.",
        "may_be_used": True,
        "is_asked_about": False,
    }
    assert "no such ledger" in dead["error"]


async def found() -> dict[str, Finding]:
    return {finding.check: finding async for finding in servers(load_settings())}


async def test_doctor_tries_each_server(desks: Desks, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await found() == {}
    desks.register(tools=["search"])
    desks.register(name="poorer", tools=["search", "fly"])
    desks.register("mute", name="mute", start_timeout_s=0.3)
    desks.register(name="poor", env=["NOT_SET"])

    said = {check: (each.status, each.detail) for check, each in (await found()).items()}

    assert said == {
        "server desk": (Status.OK, "answers, and has 18 tools, of which 1 may be used"),
        "server poorer": (Status.WARNING, "has no fly"),
        "server mute": (Status.FAILED, "has not listed its tools within 0.3 s."),
        "server poor": (Status.FAILED, "needs what is not there: NOT_SET is not set."),
    }


async def test_doctor_says_what_is_wrong_with_the_file(desks: Desks) -> None:
    desks.enter("a", comand=["x"])

    assert "did you mean 'command'?" in (await found())["servers"].detail


async def test_doctor_names_agents_whose_server_there_is_not(desks: Desks) -> None:
    (load_settings().config_dir / "agents").mkdir(parents=True)
    desks.agent("clerk", uses("search"))
    (desks.specs / "clerk.yaml").rename(load_settings().config_dir / "agents" / "clerk.yaml")

    checks = {each.check: each async for each in agents.agents(load_settings())}

    assert "There is no MCP server 'desk'" in checks["agent clerk"].detail
    assert checks["agents"].detail == "5 of 6 can be run"
