"""Who wants to hear of changes, and what has changed.

A client of 2026-07-28 hears on the stream of its `subscriptions/listen`, an older one on its
connection: of lists always, of a resource once it has subscribed to it. While anybody listens, a
task looks once a second at the fingerprints of what is listed and of what was subscribed to. No
directory is watched by the kernel: that would be another way for each system, and none over NFS.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import anyio
import anyio.abc
import mcp_types as types
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
)
from mcp.shared.subscriptions import event_to_notification

from mcp_server.errors import LimitError, ServerError
from mcp_server.prompts import Shelf
from mcp_server.resources import Resources

LOOK_S = 1.0
"""Seconds from one look to the next."""
MAX_WATCHED = 100
"""Resources that one server watches: each costs a look a second."""
_SEND_S = 10  # for a client that does not read

logger = logging.getLogger(__name__)

Context = ServerRequestContext[Any]  # the SDK's lifespan object, which is not used


@dataclass(frozen=True)
class _Older:
    """A client of before 2026-07-28, and the resources that it has subscribed to."""

    session: ServerSession
    uris: set[str] = field(default_factory=set)

    def wants(self, event: ServerEvent) -> bool:
        return not isinstance(event, ResourceUpdated) or event.uri in self.uris

    async def send(self, event: ServerEvent) -> None:
        with anyio.move_on_after(_SEND_S):
            await self.session.send_notification(event_to_notification(event, {}))


class Notices:
    """Tells clients of both eras what has changed."""

    def __init__(self, shelf: Shelf | None, resources: Resources) -> None:
        self._shelf = shelf
        self._resources = resources
        self._bus = InMemorySubscriptionBus()
        self._streams = ListenHandler(self._bus)
        self._older: dict[Connection, _Older] = {}
        self._listeners = 0
        self._is_heard = anyio.Event()
        self._catalog: str | None = None
        self._watched: Counter[str] = Counter()
        self._versions: dict[str, str] = {}

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[dict[str, Any]]:
        """Look for changes for as long as the server serves."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, tasks)
            yield {}
            tasks.cancel_scope.cancel()

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Serve the stream of a client that listens; what cannot change is not subscribed to.

        Raises:
            LimitError: too much is watched already.
        """
        wish = params.notifications
        versions = await self._watchable(wish.resource_subscriptions or ())
        honoured = wish.model_copy(update={"resource_subscriptions": [*versions] or None})
        await self.note_catalog()
        with self._listening(), self._watching(versions):
            # It subscribes to the bus before it acknowledges: nothing falls between.
            return await self._streams(
                context, params.model_copy(update={"notifications": honoured})
            )

    async def greet(self, context: Context, _: types.NotificationParams) -> None:
        """Take a client of before 2026-07-28 as a listener."""
        self._older_at(context)

    async def subscribe(
        self, context: Context, params: types.SubscribeRequestParams
    ) -> types.EmptyResult:
        """Let an older client hear of one resource.

        Raises:
            NotFoundError: there is no such resource, or it is one that nobody watches.
            LimitError: too much is watched already.
        """
        older = self._older_at(context)
        version = await self._resources.version(params.uri)
        if params.uri not in older.uris:
            self._watch_too({params.uri: version})
            older.uris.add(params.uri)
        return types.EmptyResult()

    async def unsubscribe(
        self, context: Context, params: types.UnsubscribeRequestParams
    ) -> types.EmptyResult:
        """Let an older client hear no more of one resource."""
        older = self._older_at(context)
        if params.uri in older.uris:
            older.uris.remove(params.uri)
            self._forget([params.uri])
        return types.EmptyResult()

    async def note_catalog(self) -> None:
        """Remember how the specs are, for whoever is shown a list of them now."""
        if self._shelf is not None and self._catalog is None:
            self._catalog = await self._shelf.version()

    async def _watchable(self, uris: Iterable[str]) -> dict[str, str]:
        """Return how those of the resources are now that can be watched."""
        versions: dict[str, str] = {}
        for uri in islice(dict.fromkeys(uris), MAX_WATCHED + 1):
            with suppress(ServerError):
                versions[uri] = await self._resources.version(uri)
        return versions

    def _older_at(self, context: Context) -> _Older:
        # The SDK has no public way from a request to its connection, which outlives it.
        connection = context.session._connection
        if connection not in self._older:
            self._older[connection] = _Older(context.session)
            connection.exit_stack.enter_context(self._until_gone(connection))
        return self._older[connection]

    @contextmanager
    def _until_gone(self, connection: Connection) -> Iterator[None]:
        with self._listening():
            try:
                yield
            finally:
                self._forget(self._older.pop(connection).uris)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        self._listeners += 1
        self._is_heard.set()
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners:
                self._is_heard = anyio.Event()

    @contextmanager
    def _watching(self, versions: Mapping[str, str]) -> Iterator[None]:
        self._watch_too(versions)
        try:
            yield
        finally:
            self._forget(versions)

    def _watch_too(self, versions: Mapping[str, str]) -> None:
        """Watch resources that are like this now."""
        wanted = len(self._watched.keys() | versions.keys())
        if wanted > MAX_WATCHED:
            raise LimitError(
                f"This server watches {MAX_WATCHED} resources at most. Unsubscribe from others.",
                limit=MAX_WATCHED,
                actual=wanted,
                unit="resources",
            )
        self._versions |= {uri: now for uri, now in versions.items() if uri not in self._watched}
        self._watched.update(versions.keys())

    def _forget(self, uris: Iterable[str]) -> None:
        self._watched.subtract(uris)
        self._watched = +self._watched  # without those that nobody wants any more

    async def _watch(self, tasks: anyio.abc.TaskGroup) -> None:
        while True:
            await self._is_heard.wait()
            await anyio.sleep(LOOK_S)
            try:
                changes = await self._changes()
            except Exception:  # a bug in what was offered must not end a server of files
                logger.exception("bug: changes cannot be looked for")
                continue
            for event in changes:
                await self._bus.publish(event)
                for older in list(self._older.values()):
                    if older.wants(event):
                        tasks.start_soon(older.send, event)

    async def _changes(self) -> list[ServerEvent]:
        events: list[ServerEvent] = []
        if self._shelf is not None:
            before, self._catalog = self._catalog, await self._shelf.version()
            if before not in (None, self._catalog):
                events += [PromptsListChanged(), ResourcesListChanged()]
        self._versions = {uri: self._versions[uri] for uri in self._watched}
        for uri, before in list(self._versions.items()):
            try:
                now = await self._resources.version(uri)
            except ServerError:
                now = ""  # gone: whoever reads it is told
            if now != before:
                self._versions[uri] = now
                events.append(ResourceUpdated(uri))
        return events
