"""Who is let in to pages and calls of our own, and what the others are told."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest
from starlette.responses import PlainTextResponse, Response

from facade.access.control import AccessControl
from facade.access.guard import Guard
from facade.access.rules import ADMINISTER
from facade.clock import ManualClock
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio


def refuse(status: int, text: str, headers: Mapping[str, str]) -> Response:
    return PlainTextResponse(text, status, headers)


async def test_while_nobody_knows_the_accounts_it_is_a_matter_of_time(clock: ManualClock) -> None:
    """Of a server that starts while its Redis is away."""
    access = AccessControl(Registry(MemoryStore(clock), clock, Policy()))
    guard = Guard(PlainTextResponse("in"), access, ADMINISTER, refuse)
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://test") as http:
            answer = await http.get("/", auth=("root", "Any-passw0rd"))
    finally:
        access.close()

    assert (answer.status_code, answer.text) == (503, "accounts have not been read from the store yet")
