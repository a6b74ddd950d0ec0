"""What changes something is sent by our own pages only, on purpose."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from facade.clock import ManualClock
from facade.dashboard.routes import Dashboard
from facade.errors import StoreUnavailable
from facade.registry.model import Origin, Revision, Status
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.registry.store import Put, Write
from facade.stores.memory import MemoryStore
from tests.registry.records import flat, qualified, service

pytestmark = pytest.mark.anyio

BASE = "http://registry.test:30103"
PATH = f"/services/{flat().service.derived_id}"


@pytest.fixture
async def http(registry: Registry) -> AsyncIterator[httpx.AsyncClient]:
    """A browser, as far as forms go."""
    transport = httpx.ASGITransport(Starlette(routes=Dashboard(registry).routes()))
    async with httpx.AsyncClient(transport=transport, base_url=BASE, headers={"Origin": BASE}) as http:
        yield http


async def form(http: httpx.AsyncClient, path: str = PATH) -> dict[str, str]:
    """The fields of the first form on a page."""
    page = (await http.get(path)).text
    return dict(
        re.findall(r'name="(\w+)" value="([^"]*)"', page.partition('<form method="post"')[2].partition("</form>")[0])
    )


async def status(registry: Registry) -> Status:
    held = registry.catalogue.instance(flat().key)
    assert held is not None
    return held.status


async def test_an_instance_is_taken_out_and_put_back(registry: Registry, http: httpx.AsyncClient) -> None:
    await registry.register(flat())

    answer = await http.post(f"{PATH}/status?lang=zh", data=await form(http))
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PATH}?lang=zh")
    assert await status(registry) is Status.OUT_OF_SERVICE
    await http.post(f"{PATH}/status", data=await form(http))

    assert await status(registry) is Status.UP


async def test_one_born_in_servicecenter_too(registry: Registry, http: httpx.AsyncClient) -> None:
    orders = service()
    await registry.transact("services", lambda: [Put(orders)])
    await registry.register(qualified(orders))
    path = f"/services/{orders.key.service_id}"

    fields = await form(http, path)
    await http.post(f"{path}/status", data=fields)

    assert fields["origin"] == Origin.SERVICECENTER
    held = registry.catalogue.instance(qualified(orders).key)
    assert held is not None
    assert held.override is Status.OUT_OF_SERVICE


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.test"},
        {"Origin": "http://["},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://registry.test"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Content-Type": "text/plain"},
        {"Cookie": "registry-facade-form=" + "0" * 32},
        {"Cookie": ""},
    ],
)
async def test_what_no_page_of_ours_has_sent_changes_nothing(
    registry: Registry, http: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """S18."""
    await registry.register(flat())
    fields = await form(http)
    if "Cookie" in headers:
        http.cookies.clear()

    answer = await http.post(f"{PATH}/status", data=fields, headers=headers)

    assert answer.status_code == 403
    assert await status(registry) is Status.UP


@pytest.mark.parametrize(
    "change",
    [{"token": "0" * 64}, {"token": ""}, {"token": "ä"}, {"more": "x" * 5_000}, dict.fromkeys(map(str, range(20)), "")],
)
async def test_a_form_that_was_tampered_with_changes_nothing(
    registry: Registry, http: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    await registry.register(flat())

    answer = await http.post(f"{PATH}/status", data=await form(http) | change)

    assert answer.status_code == 403
    assert await status(registry) is Status.UP


@pytest.mark.parametrize("change", [{"instance": "other"}, {"origin": "servicecenter"}, {"to": "DOWN"}, {"to": ""}])
async def test_what_is_not_there_is_not_changed(
    registry: Registry, http: httpx.AsyncClient, change: dict[str, str]
) -> None:
    await registry.register(flat())

    answer = await http.post(f"{PATH}/status", data=await form(http) | change)

    assert answer.status_code == 404
    assert await status(registry) is Status.UP


async def test_the_cookie_is_for_our_pages_alone(registry: Registry, http: httpx.AsyncClient) -> None:
    await registry.register(flat())

    cookie = (await http.get(PATH)).headers["set-cookie"]

    assert {"httponly", "samesite=strict", "path=/services"} <= set(cookie.lower().split("; "))
    assert "secure" not in cookie.lower()


async def test_a_cookie_that_came_over_tls_goes_over_nothing_else(registry: Registry, http: httpx.AsyncClient) -> None:
    await registry.register(flat())

    cookie = (await http.get(f"https://registry.test:30103{PATH}")).headers["set-cookie"]

    assert "secure" in cookie.lower().split("; ")


async def test_looking_changes_nothing(registry: Registry, http: httpx.AsyncClient) -> None:
    await registry.register(flat())

    answer = await http.get(f"{PATH}/status", params=await form(http))

    assert answer.status_code == 405
    assert await status(registry) is Status.UP


class _Refusing(MemoryStore):
    async def write(self, writes: Any) -> Revision:
        if any(
            isinstance(one, Write) and getattr(one, "record", None) is not None and one.record.override
            for one in writes
        ):
            raise StoreUnavailable("full")
        return await super().write(writes)


async def test_a_store_that_takes_nothing_is_told_on_the_page(clock: ManualClock) -> None:
    registry = Registry(_Refusing(clock), clock, Policy(self_preservation=False))
    await registry.open()
    await registry.register(flat())
    transport = httpx.ASGITransport(Starlette(routes=Dashboard(registry).routes()))
    async with httpx.AsyncClient(transport=transport, base_url=BASE, headers={"Origin": BASE}) as http:
        answer = await http.post(f"{PATH}/status", data=await form(http))

    assert (answer.status_code, "takes no writes" in answer.text) == (503, True)
    await registry.close()
