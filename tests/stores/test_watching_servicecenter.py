"""The watch of a ServiceCenter: HTTP goes to our own front, WebSockets to a real server beside it that says when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from websockets.asyncio.server import ServerConnection, serve

from conformance.peers.patience import PATIENCE_S
from facade.clock import ManualClock
from facade.outbound import Outbound
from facade.registry.model import ServiceKey, ServiceName, Tenant
from facade.servicecenter.client import ServiceCenterClient
from facade.servicecenter.records import MicroService
from facade.stores import watching_servicecenter
from facade.stores.watching_servicecenter import App, Watching, _Helper
from tests.stores.servicecenter import Server, opened_server

pytestmark = pytest.mark.anyio

TENANT = Tenant()
CART = ServiceName("default", "default", "", "shop", "cart")
HELPER = ServiceKey("default", "default", "", "shop", "registry-facade", "1.0.0")


class There(NamedTuple):
    server: Server
    client: ServiceCenterClient
    opened: asyncio.Queue[ServerConnection]
    """Watches, as they are opened."""


@pytest.fixture
async def there(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[There]:
    monkeypatch.setattr(watching_servicecenter, "_FIRST_PAUSE_S", 0.001)
    opened = asyncio.Queue[ServerConnection]()

    async def watch(connection: ServerConnection) -> None:
        opened.put_nowait(connection)
        await connection.wait_closed()

    async with opened_server(clock) as front, serve(watch, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        # No WebSocket is to be had at the first.
        outbound = Outbound(["http://127.0.0.1:1", f"http://127.0.0.1:{port}"], transport=front)
        client = ServiceCenterClient(outbound)
        await client.create_service(TENANT, MicroService(app_id="shop", service_name="cart", version="1"))
        yield There(front, client, opened)
        await client.close()


@pytest.fixture
def watching(there: There) -> Watching:
    """It follows one provider."""
    watching = Watching(there.client)
    watching.follow([CART])
    return watching


@pytest.fixture
async def hints(watching: Watching) -> AsyncIterator[asyncio.Queue[None]]:
    """What it says."""
    hints = asyncio.Queue[None]()
    running = asyncio.create_task(watching.run(lambda: hints.put_nowait(None)))
    yield hints
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_new_watch_is_a_hint_for_nobody_tells_of_what_was_before(hints: asyncio.Queue[None]) -> None:
    await asyncio.wait_for(hints.get(), PATIENCE_S)


async def test_whatever_the_server_says_is_a_hint(there: There, hints: asyncio.Queue[None]) -> None:
    watch = await asyncio.wait_for(there.opened.get(), PATIENCE_S)
    await asyncio.wait_for(hints.get(), PATIENCE_S)
    await watch.send('{"action":"CREATE"}')

    await asyncio.wait_for(hints.get(), PATIENCE_S)


async def test_one_helper_listens_for_each_app(there: There, hints: asyncio.Queue[None]) -> None:
    watch = await asyncio.wait_for(there.opened.get(), PATIENCE_S)

    assert watch.request is not None
    assert watch.request.path == f"/v4/default/registry/microservices/{HELPER.derived_id}/watcher"
    assert await there.client.existing(HELPER) == HELPER.derived_id


async def test_a_helper_without_providers_ends_and_is_deleted(
    there: There, watching: Watching, hints: asyncio.Queue[None]
) -> None:
    watch = await asyncio.wait_for(there.opened.get(), PATIENCE_S)
    watching.follow([])
    await asyncio.wait_for(watch.wait_closed(), PATIENCE_S)
    watching.follow([CART])
    await asyncio.wait_for(there.opened.get(), PATIENCE_S)

    assert f"DELETE default /v4/default/registry/microservices/{HELPER.derived_id}" in there.server.calls
    assert await there.client.existing(HELPER) == HELPER.derived_id


async def test_a_watch_that_opens_but_may_find_nothing_is_tried_ever_more_seldom(there: There) -> None:
    there.server.refused["/registry/instances"] = "403205"
    helper = _Helper(there.client, App(TENANT, "", "shop"), lambda: None)
    helper.follow({CART})
    running = asyncio.create_task(helper.run())
    for _ in range(4):
        await asyncio.wait_for(there.opened.get(), PATIENCE_S)
    running.cancel()

    assert helper._pause_s >= 0.008
