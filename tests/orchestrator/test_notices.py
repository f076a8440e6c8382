"""Clients of both eras hear of what has changed, and nobody else does."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from mcp import Client
from mcp.client.subscriptions import Subscription
from mcp.shared.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
)
from mcp_types import INVALID_PARAMS

from mcp_server import notices
from mcp_server.fence.grant import Grant
from mcp_server.fence.workspace import Workspace
from mcp_server.ports import Offers
from mcp_server.server import create_server, initialization_options
from orchestrator.adapter import SpecCatalog
from orchestrator.catalogue import Catalogue
from tests.orchestrator.served import EDITOR, desk, refused

NEW = "name: poet\ndescription: Writes verse.\ninstructions: Sing.\n"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server look often, so that no test waits long."""
    monkeypatch.setattr(notices, "LOOK_S", 0.02)


async def test_new_edited_and_removed_specs_are_told_to_a_listener(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        wish = at.client.listen(prompts_list_changed=True, resources_list_changed=True)
        async with wish as heard:
            for text in (NEW, NEW.replace("verse", "prose"), None):
                if text is None:
                    (at.specs / "poet.yaml").unlink()
                else:
                    at.write("poet", text)
                assert {await _next(heard), await _next(heard)} == {
                    PromptsListChanged(),
                    ResourcesListChanged(),
                }
        at.write("poet", NEW)
        assert "Writes verse." in await _descriptions(at.client)
        at.write("poet", NEW.replace("verse", "prose"))
        assert "Writes prose." in await _descriptions(at.client)


async def test_listener_hears_only_of_what_it_asked_for(tmp_path: Path) -> None:
    editor = "workyard://agents/editor"
    async with desk(tmp_path) as at:
        uris = [editor, "workspace:///book/one.md", "workyard://agents/nobody"]
        async with at.client.listen(resource_subscriptions=uris) as heard:
            assert heard.honored.resource_subscriptions == [editor]
            at.write("idler", NEW.replace("poet", "idler"))
            at.write("editor", EDITOR.replace("Edits", "Rewrites"))
            assert await _next(heard) == ResourceUpdated(editor)
            (at.specs / "editor.yaml").unlink()
            assert await _next(heard) == ResourceUpdated(editor)


async def test_server_watches_a_bounded_number_of_resources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "MAX_WATCHED", 1)
    async with desk(tmp_path) as at:
        uris = ["workyard://agents/editor", "workyard://agents/idler"]
        with pytest.raises(Exception, match="watches 1 resources at most"):
            async with at.client.listen(resource_subscriptions=uris):
                pass
        async with at.client.listen(resource_subscriptions=uris[:1]) as heard:
            at.write("editor", EDITOR.replace("Edits", "Rewrites"))
            assert await _next(heard) == ResourceUpdated(uris[0])


@pytest.mark.filterwarnings("ignore:resources/subscribe is removed")
@pytest.mark.filterwarnings("ignore:resources/unsubscribe is removed")
async def test_older_client_is_told_on_its_connection(tmp_path: Path) -> None:
    uri = "workyard://agents/editor"
    told: list[str] = []

    async def hear(message: object) -> None:
        told.append(str(getattr(message, "method", message)))

    async with desk(tmp_path, "legacy", hear=hear) as at:
        await at.client.list_prompts()
        at.write("poet", NEW)
        await _until(lambda: len(told) == 2)
        assert told == [
            "notifications/prompts/list_changed",
            "notifications/resources/list_changed",
        ]
        await at.client.subscribe_resource(uri)
        at.write("editor", EDITOR.replace("Edits", "Rewrites"))
        await _until(lambda: "notifications/resources/updated" in told)
        await at.client.unsubscribe_resource(uri)
        told.clear()
        at.write("editor", EDITOR)
        await _until(lambda: len(told) == 2)
        assert "notifications/resources/updated" not in told
        file = await refused(at.client.subscribe_resource("workspace:///book/one.md"))

    assert file.code == INVALID_PARAMS
    assert "files are not watched here" in file.message


@pytest.mark.filterwarnings("ignore:resources/subscribe is removed")
async def test_older_client_hears_nothing_of_what_another_has_subscribed_to(tmp_path: Path) -> None:
    told: dict[str, list[str]] = {"one": [], "other": []}

    async def one(message: object) -> None:
        told["one"].append(str(getattr(message, "method", message)))

    async def other(message: object) -> None:
        told["other"].append(str(getattr(message, "method", message)))

    (tmp_path / "poet.yaml").write_text(NEW)
    async with Workspace.open(tmp_path, Grant.full()) as workspace:
        server = create_server(workspace, Offers(catalog=SpecCatalog(Catalogue((tmp_path,)))))
        async with (
            Client(server, mode="legacy", message_handler=one) as subscribed,
            Client(server, mode="legacy", message_handler=other) as plain,
        ):
            await subscribed.subscribe_resource("workyard://agents/poet")
            await plain.list_prompts()
            (tmp_path / "poet.yaml").write_text(NEW.replace("verse", "prose"))
            await _until(lambda: "notifications/resources/updated" in told["one"])
            await _until(lambda: "notifications/prompts/list_changed" in told["other"])

    assert "notifications/resources/updated" not in told["other"]


async def test_older_client_is_told_that_lists_change_only_where_they_do(tmp_path: Path) -> None:
    async with Workspace.open(tmp_path, Grant.full()) as workspace:
        catalog = SpecCatalog(Catalogue((tmp_path,)))
        for offers, changes in ((Offers(), False), (Offers(catalog=catalog), True)):
            server = create_server(workspace, offers)
            capabilities = initialization_options(server).capabilities
            assert capabilities.resources is not None
            assert capabilities.resources.list_changed is changes
            assert capabilities.resources.subscribe is changes
            assert (capabilities.prompts is not None) is changes


async def test_fault_in_what_is_offered_ends_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path) as at, at.client.listen(prompts_list_changed=True) as heard:
        with monkeypatch.context() as broken:
            broken.setattr(SpecCatalog, "version", lambda _: 1 / 0)
            await _until(lambda: "changes cannot be looked for" in caplog.text)
        at.write("poet", NEW)
        assert await _next(heard) == PromptsListChanged()


async def _descriptions(client: Client) -> list[str | None]:
    return [each.description for each in (await client.list_prompts()).prompts]


async def _next(heard: Subscription) -> ServerEvent:
    with anyio.fail_after(10):
        return await anext(heard)


async def _until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not holds():
            await anyio.sleep(0.01)
