"""The watch of a ServiceCenter: it tells a consumer of changes among the providers that it has found.

So for each app and environment there is one helper service of ours, which finds every provider there once and listens
on a WebSocket, as long as there are any. What it hears is only a hint that reading now is worth while; what it misses,
the next reading sees.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from facade.errors import FacadeError, ServiceNotFound
from facade.registry.model import ServiceKey, ServiceName, Tenant
from facade.servicecenter.client import ServiceCenterClient
from facade.servicecenter.records import FrameWork, MicroService
from facade.stores.marks import ORIGIN, OURS

PING_EVERY_S = 30.0
"""The server cuts the connection 120 s after the last ping."""
_PONG_WITHIN_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_VERSION = "1.0.0"

log = logging.getLogger(__name__)


class App(NamedTuple):
    """Where consumers see each other's providers without being asked."""

    tenant: Tenant
    environment: str
    app: str


class Watching:
    def __init__(self, client: ServiceCenterClient) -> None:
        self._client = client
        self._all: set[ServiceName] = set()
        self._names: dict[App, set[ServiceName]] = {}
        self._news = asyncio.Event()

    def follow(self, *many: Collection[ServiceName]) -> None:
        """The providers that there are now."""
        names = set().union(*many)
        if names == self._all:
            return
        self._all = names
        apps = defaultdict[App, set[ServiceName]](set)
        for name in names:
            apps[App(name.tenant, name.environment, name.app)].add(name)
        self._names = dict(apps)
        self._news.set()

    async def run(self, hint: Callable[[], None]) -> None:
        """One helper for each app, while it has providers; until cancelled."""
        helpers: dict[App, _Helper] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._news.wait()
                self._news.clear()
                for app in helpers.keys() - self._names.keys():
                    await helpers.pop(app).end()
                for app, names in self._names.items():
                    if app not in helpers:
                        helpers[app] = _Helper(self._client, app, hint)
                        helpers[app].task = tasks.create_task(helpers[app].run())
                    helpers[app].follow(names)


class _Helper:
    task: asyncio.Task[None]
    """In which it runs."""

    def __init__(self, client: ServiceCenterClient, app: App, hint: Callable[[], None]) -> None:
        self._client = client
        self._app = app
        self._hint = hint
        self._id = ""
        self._wanted: set[ServiceName] = set()
        self._news = asyncio.Event()
        self._pause_s = _FIRST_PAUSE_S
        self._failures = 0

    def follow(self, names: set[ServiceName]) -> None:
        self._wanted = names
        self._news.set()

    async def run(self) -> None:
        while True:
            try:
                async with await self._connect() as socket:
                    await self._listen(socket)
            except* (FacadeError, WebSocketException, OSError) as errors:
                log.info("watch broken app=%s reason=%s", self._app.app, errors.exceptions[0])
                self._failures += 1
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    async def end(self) -> None:
        """Nobody is left to listen for. The service may be gone, or needed by another node, which makes it again."""
        self.task.cancel()
        await asyncio.wait([self.task])
        try:
            if self._id:
                await self._client.delete_service(self._app.tenant, self._id, force=True)
        except FacadeError as error:
            log.info("helper service stays app=%s reason=%s", self._app.app, error)

    async def _connect(self) -> ClientConnection:
        key = ServiceKey(*self._app.tenant, self._app.environment, self._app.app, OURS, _VERSION)
        self._id = await self._client.create_service(self._app.tenant, _helper_service(key))
        addresses = self._client.watchers(self._app.tenant, self._id)
        return await connect(
            addresses[self._failures % len(addresses)],
            additional_headers=await self._client.headers(self._app.tenant),
            ping_interval=None,
            compression=None,
            proxy=None,
            max_size=1 << 20,
        )

    async def _listen(self, socket: ClientConnection) -> None:
        self._hint()  # nobody tells of what happened before
        async with asyncio.TaskGroup() as tasks:
            finding = tasks.create_task(self._find_new())
            pinging = tasks.create_task(_ping(socket))
            async for _ in socket:
                self._hint()
            finding.cancel()
            pinging.cancel()

    async def _find_new(self) -> None:
        """The server tells of providers only that were found before."""
        found: set[ServiceName] = set()
        while True:
            for name in self._wanted - found:
                try:
                    await self._client.find(name.tenant, self._id, name)
                    found.add(name)
                except ServiceNotFound:  # the provider is gone, which is well, or the helper, which is not
                    if await self._client.service(self._app.tenant, self._id) is None:
                        raise
            found &= self._wanted
            self._pause_s = _FIRST_PAUSE_S
            self._news.clear()
            await self._news.wait()


async def _ping(socket: ClientConnection) -> None:
    """Without a text of its own: the server answers with empty pongs only."""
    while True:
        await asyncio.sleep(PING_EVERY_S)
        async with asyncio.timeout(_PONG_WITHIN_S):
            await (await socket.ping(b""))


def _helper_service(key: ServiceKey) -> MicroService:
    return MicroService(
        app_id=key.app,
        service_name=key.name,
        version=key.version,
        environment=key.environment,
        description="listens for changes on behalf of registry-facade; it has no instances",
        properties={ORIGIN: OURS},
        register_by="PLATFORM",
        framework=FrameWork(name=OURS),
    )
