"""The watch of a ServiceCenter: HTTP goes to our own front, WebSockets to a real server beside it that says when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve

from facade.outbound import Outbound
from facade.registry.model import ServiceKey, ServiceName, Tenant
from facade.registry.registry import Registry
from facade.servicecenter.client import ServiceCenterClient
from facade.servicecenter.records import MicroService
from facade.servicecenter.routes import ServiceCenterFront, ServiceCenterOptions
from facade.stores.watching_servicecenter import Watching

pytestmark = pytest.mark.anyio

TENANT = Tenant()
CART = ServiceName("default", "default", "", "shop", "cart")
HELPER = ServiceKey("default", "default", "", "shop", "registry-facade", "1.0.0")


class There(NamedTuple):
    client: ServiceCenterClient
    opened: asyncio.Queue[ServerConnection]
    """Watches, as they are opened."""


@pytest.fixture
async def there(registry: Registry) -> AsyncIterator[There]:
    front = ServiceCenterFront(registry, ServiceCenterOptions(version="2.2.0"))
    opened = asyncio.Queue[ServerConnection]()

    async def watch(connection: ServerConnection) -> None:
        opened.put_nowait(connection)
        await connection.wait_closed()

    async with serve(watch, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        outbound = Outbound([f"http://127.0.0.1:{port}"], transport=httpx.ASGITransport(front))
        client = ServiceCenterClient(outbound)
        yield There(client, opened)
        await client.close()


@pytest.fixture
async def hints(there: There) -> AsyncIterator[asyncio.Queue[None]]:
    """What a watch that follows one provider says."""
    await there.client.create_service(TENANT, MicroService(app_id="shop", service_name="cart", version="1"))
    watching, hints = Watching(there.client), asyncio.Queue[None]()
    watching.follow([CART])
    running = asyncio.create_task(watching.run(lambda: hints.put_nowait(None)))
    yield hints
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_new_watch_is_a_hint_for_nobody_tells_of_what_was_before(hints: asyncio.Queue[None]) -> None:
    await asyncio.wait_for(hints.get(), 5)


async def test_whatever_the_server_says_is_a_hint(there: There, hints: asyncio.Queue[None]) -> None:
    watch = await asyncio.wait_for(there.opened.get(), 5)
    await asyncio.wait_for(hints.get(), 5)
    await watch.send('{"action":"CREATE"}')

    await asyncio.wait_for(hints.get(), 5)


async def test_one_helper_listens_for_each_app(there: There, hints: asyncio.Queue[None]) -> None:
    watch = await asyncio.wait_for(there.opened.get(), 5)

    assert watch.request is not None
    assert watch.request.path == f"/v4/default/registry/microservices/{HELPER.derived_id}/watcher"
    assert await there.client.existing(HELPER) == HELPER.derived_id
