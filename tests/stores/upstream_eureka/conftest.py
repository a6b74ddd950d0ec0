"""One server or two behind us."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from facade.clock import ManualClock
from facade.stores.upstream_eureka import EurekaBackend
from tests.stores.upstream_eureka.servers import ONE, Servers, backend_of


@pytest.fixture
async def servers(clock: ManualClock) -> Servers:
    servers = Servers(clock)
    await servers.start("one")
    await servers.start("two")
    return servers


@pytest.fixture
async def backend(servers: Servers, clock: ManualClock) -> AsyncIterator[EurekaBackend]:
    """Over one server, read once, and its addresses known."""
    backend = backend_of(servers, clock, ONE)
    await backend.read(is_whole=True)
    await backend.nodes.look()
    yield backend
    await backend.close()
