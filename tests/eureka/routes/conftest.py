"""A client of a front over an empty registry."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from facade.registry.registry import Registry
from tests.eureka.routes.client import Client


@pytest.fixture
async def client(registry: Registry) -> AsyncIterator[Client]:
    client = Client(registry)
    yield client
    await client.close()
