"""The watch of a ServiceCenter: it tells a consumer of changes among the providers that it has found.

So for each app and environment there is one helper service of ours, which finds every provider there once and listens
on a WebSocket. What it hears is only a hint that reading now is worth while; what it misses, the next reading sees.
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
from facade.stores.packed_in_servicecenter import ORIGIN
from facade.stores.reading_servicecenter import OURSELVES

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
        """One helper for each app, from when it is first seen; until cancelled."""
        helpers: dict[App, _Helper] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._news.wait()
                self._news.clear()
                for app, names in self._names.items():
                    if app not in helpers:
                        helpers[app] = _Helper(self._client, app, hint)
                        tasks.create_task(helpers[app].run())
                    helpers[app].follow(names)


class _Helper:
    def __init__(self, client: ServiceCenterClient, app: App, hint: Callable[[], None]) -> None:
        self._client = client
        self._app = app
        self._hint = hint
        self._wanted: set[ServiceName] = set()
        self._news = asyncio.Event()

    def follow(self, names: set[ServiceName]) -> None:
        self._wanted = names
        self._news.set()

    async def run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                async with await self._connect() as socket:
                    pause_s = _FIRST_PAUSE_S
                    await self._listen(socket)
            except* (FacadeError, WebSocketException, OSError) as errors:
                log.info("watch broken app=%s reason=%s", self._app.app, errors.exceptions[0])
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _connect(self) -> ClientConnection:
        key = ServiceKey(*self._app.tenant, self._app.environment, self._app.app, OURSELVES, _VERSION)
        self._id = await self._client.create_service(self._app.tenant, _helper_service(key))
        return await connect(
            self._client.watcher(self._app.tenant, self._id),
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
        properties={ORIGIN: OURSELVES},
        register_by="PLATFORM",
        framework=FrameWork(name=OURSELVES),
    )
