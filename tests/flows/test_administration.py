"""Who may tell a running server to change its store, and what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.peers.patience import PATIENCE_S
from facade.clock import ManualClock
from facade.stores.left import NAME
from facade.stores.memory import MemoryStore

from .guarded import AS_ROOT, basic
from .product import Product, product

pytestmark = pytest.mark.anyio

PATH = "/admin/switch"
HERE = {"Host": "127.0.0.1:8761"}
WANTED = {"store": "sqlite:///"}


@pytest.fixture
async def open_to_all(clock: ManualClock, tmp_path: Path) -> AsyncIterator[Product]:
    async with product(MemoryStore(clock), clock, data_dir=tmp_path, store=("memory://",)) as product_:
        yield product_


async def ended(product_: Product, headers: dict[str, str] = HERE) -> dict[str, Any]:
    """The switch, at its end."""
    give_up_s = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        switch = (await product_.http.get(PATH, headers=headers)).json()["switch"]
        if switch["phase"] in ("looked", "switched", "called off", "failed"):
            return dict(switch)
        assert asyncio.get_running_loop().time() < give_up_s, switch
        await asyncio.sleep(0.01)


async def test_a_look_is_the_default_and_changes_nothing(open_to_all: Product, tmp_path: Path) -> None:
    await open_to_all.register_eureka("ORDERS", "o1")
    begun = await open_to_all.http.post(PATH, json=WANTED, headers=HERE)
    switch = await ended(open_to_all)

    assert begun.status_code == 202
    assert (switch["phase"], switch["plan"]["missing"]) == ("looked", {"instances": 1})
    assert not (tmp_path / NAME).exists()


async def test_a_switch_is_noted_where_the_next_start_looks(open_to_all: Product, tmp_path: Path) -> None:
    path = f"sqlite://{tmp_path}/new.db"
    await open_to_all.http.post(PATH, json={"store": path, "apply": True}, headers=HERE)

    assert (await ended(open_to_all))["phase"] == "switched"
    state = (await open_to_all.http.get(PATH, headers=HERE)).json()
    assert state["store"] == path
    assert path in (tmp_path / NAME).read_text()
    assert f"SQLite at {tmp_path}/new.db" in (await open_to_all.http.get("/readyz")).json()["store"]["text"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"{}", 400, id="no-store"),
        pytest.param(b"", 400, id="nothing"),
        pytest.param(b'{"store":"sqlite:///","rate":-1}', 400, id="a-rate-below-0"),
        pytest.param(b'{"store":"sqlite:///","rate":NaN}', 400, id="no-rate"),
        pytest.param(b'{"store":"sqlite:///","aply":true}', 400, id="misspelt"),
        pytest.param(b'{"store":"ftp://ann:secret@h"}', 400, id="no-such-store"),
        pytest.param(b'{"store":"sqlite:///\xff"}', 400, id="no-utf-8"),
        pytest.param(b'{"store":"' + b"x" * 70_000 + b'"}', 400, id="too-large"),
        pytest.param(b'{"store":"eureka+http://127.0.0.1:1/eureka"}', 202, id="nobody-there"),
    ],
)
async def test_what_cannot_be_done_is_told(open_to_all: Product, body: bytes, status: int) -> None:
    answer = await open_to_all.http.post(PATH, content=body, headers=HERE | {"Content-Type": "application/json"})

    assert answer.status_code == status
    assert "secret" not in answer.text
    if status == 202:
        assert (await ended(open_to_all))["phase"] == "failed"
    else:
        assert answer.json()["error"]


async def test_there_is_one_switch_at_a_time_and_it_can_be_called_off(open_to_all: Product) -> None:
    for number in range(30):
        await open_to_all.register_eureka("ORDERS", f"o{number}")
    nothing = await open_to_all.http.delete(PATH, headers=HERE)
    slow = {"store": "sqlite:///", "apply": True, "rate": 1}
    await open_to_all.http.post(PATH, json=slow, headers=HERE)
    second = await open_to_all.http.post(PATH, json=slow, headers=HERE)
    off = await open_to_all.http.delete(PATH, headers=HERE)

    assert (nothing.status_code, second.status_code, off.status_code) == (409, 409, 200)
    assert off.json()["switch"]["phase"] == "called off"
    assert off.json()["store"] == "memory://"
    assert len(await open_to_all.in_eureka()) == 30
    assert (await open_to_all.register_eureka("ORDERS", "later")).status_code == 204


# Who


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        pytest.param(HERE, "10.0.0.5", id="another-machine"),
        pytest.param(HERE, "::ffff:10.0.0.5", id="another-machine-mapped"),
        pytest.param(HERE | {"X-Forwarded-For": "10.0.0.5"}, "127.0.0.1", id="through-a-proxy"),
        pytest.param(HERE | {"Forwarded": "for=10.0.0.5"}, "127.0.0.1", id="through-a-newer-proxy"),
        pytest.param({"Host": "evil.example"}, "127.0.0.1", id="a-name-bound-to-our-address"),
        pytest.param(HERE | {"Origin": "http://evil.example"}, "127.0.0.1", id="a-page"),
        pytest.param(HERE | {"Sec-Fetch-Site": "cross-site"}, "127.0.0.1", id="a-page-of-another-site"),
        pytest.param(HERE | {"Sec-Fetch-Site": "same-site"}, "127.0.0.1", id="a-page-of-a-neighbour"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_without_accounts_nobody_from_elsewhere_is_believed(
    open_to_all: Product, method: str, headers: dict[str, str], client: str
) -> None:
    transport = httpx.ASGITransport(open_to_all.application, client=(client, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://registry.test") as http:
        answer = await http.request(method, PATH, json=WANTED, headers=headers)

    assert answer.status_code == 403
    assert (await open_to_all.http.get(PATH, headers=HERE)).json()["switch"] is None


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.8.9.1"])
@pytest.mark.parametrize("host", ["localhost:8761", "127.0.0.1", "[::1]:8761"])
async def test_without_accounts_who_is_on_this_machine_is(open_to_all: Product, client: str, host: str) -> None:
    transport = httpx.ASGITransport(open_to_all.application, client=(client, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://registry.test") as http:
        answer = await http.get(PATH, headers={"Host": host})

    assert answer.status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_a_form_can_send_is_none(open_to_all: Product, content_type: str) -> None:
    answer = await open_to_all.http.post(
        PATH, content=b'{"store":"sqlite:///"}', headers=HERE | {"Content-Type": content_type}
    )

    assert answer.status_code == 400


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("name", ["developer", "reader", "tester", "shopkeeper", "peer", "clerk", "nothing"])
async def test_with_accounts_only_an_administrator_is(guarded: Product, method: str, name: str) -> None:
    wanted = {"store": "memory://"}  # another one than these settings name
    anonymous = await guarded.http.request(method, PATH, json=wanted, headers=HERE)
    denied = await guarded.http.request(method, PATH, json=wanted, headers=HERE | basic(name))
    page = AS_ROOT | {"Sec-Fetch-Site": "cross-site"}
    by_a_page = await guarded.http.request(method, PATH, json=wanted, headers=page)
    allowed = await guarded.http.request(method, PATH, json=wanted, headers=AS_ROOT)

    assert (anonymous.status_code, denied.status_code) == (401, 403)
    assert by_a_page.status_code == (200 if method == "GET" else 403)
    assert allowed.status_code not in (401, 403)
    if method == "POST":
        await ended(guarded, AS_ROOT)


async def test_accounts_go_along(guarded: Product, tmp_path: Path) -> None:
    wanted = {"store": f"sqlite://{tmp_path}/new.db", "apply": True}
    await guarded.http.post(PATH, json=wanted, headers=AS_ROOT)

    assert (await ended(guarded, AS_ROOT))["phase"] == "switched"
    assert (await guarded.http.get("/eureka/apps", headers=basic("reader"))).status_code == 200
