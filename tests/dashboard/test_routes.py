"""Pages for people, probes and metrics for machines, in whole requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from facade.dashboard import routes
from facade.dashboard.routes import Dashboard
from facade.registry.registry import Registry
from facade.registry.store import PeerHealth
from tests.registry.records import flat

pytestmark = pytest.mark.anyio


@pytest.fixture
def dashboard(registry: Registry) -> Dashboard:
    return Dashboard(registry)


@pytest.fixture
async def http(dashboard: Dashboard) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=dashboard.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://registry.test:8761") as http:
        yield http


async def test_the_page_shows_what_is_registered(registry: Registry, http: httpx.AsyncClient) -> None:
    await registry.register(flat())

    page = await http.get("/")

    assert page.status_code == 200
    assert "ORDERS" in page.text
    assert "eureka/orders 0.0.1" in page.text


async def test_others_have_their_turn_while_a_large_page_is_made(
    registry: Registry, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What leaves meanwhile is no fault either."""
    monkeypatch.setattr(routes, "TURN_S", 0.0)
    for number in range(30):
        await registry.register(flat(f"APP-{number:02d}"))

    page = asyncio.create_task(http.get("/"))
    turns = 0
    while not page.done():
        await asyncio.sleep(0)
        turns += 1
        if turns == 40:
            await registry.cancel(flat("APP-29").key)

    assert turns > 100
    assert page.result().text.count('data-name="APP-') == 30
    assert page.result().text.rstrip().endswith("</html>")


async def test_the_connect_box_names_the_address_that_the_reader_used(http: httpx.AsyncClient) -> None:
    assert "defaultZone: http://registry.test:8761/eureka/" in (await http.get("/")).text


@pytest.mark.parametrize("payload", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}"])
async def test_nothing_that_clients_say_becomes_markup(
    registry: Registry, http: httpx.AsyncClient, payload: str
) -> None:
    """B9: names, ids, addresses and metadata come from anybody."""
    hostile = flat(payload.upper(), payload, endpoints=(payload,), metadata={payload: payload})
    await registry.register(hostile)

    page = (await http.get("/", params={"filter": ""})).text
    filtered = (await http.get("/", params={"filter": payload})).text

    assert payload not in page.replace("{{ 7 * 7 }}", "")
    assert payload.upper() not in page.replace("{{ 7 * 7 }}", "")
    assert payload not in filtered.replace("{{ 7 * 7 }}", "")
    assert "49" not in page.partition("<main")[0]


async def test_a_page_may_load_nothing_from_elsewhere_and_run_no_inline_script(http: httpx.AsyncClient) -> None:
    """S17: it works without internet, and a name that slipped through could not run."""
    page = await http.get("/")

    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "http" not in page.text.partition("<body")[0].replace("http-equiv", "")
    assert page.headers["x-content-type-options"] == "nosniff"


async def test_the_page_brings_its_script_and_style(http: httpx.AsyncClient) -> None:
    assert (await http.get("/dashboard/static/live.js")).status_code == 200
    assert (await http.get("/dashboard/static/style.css")).status_code == 200


async def test_static_files_end_at_their_folder(http: httpx.AsyncClient) -> None:
    """B7."""
    assert (await http.get("/dashboard/static/../routes.py")).status_code == 404
    assert (await http.get("/dashboard/static/%2e%2e/routes.py")).status_code == 404


async def test_a_change_is_told_to_the_open_page(
    registry: Registry, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "TOLD_EVERY_S", 0)
    told = dashboard.told()
    at_first = await anext(told)

    await registry.register(flat())

    assert at_first != await anext(told) == f"data: {registry.revision}\n\n"
    await told.aclose()


async def test_probes_answer(http: httpx.AsyncClient) -> None:
    ready = (await http.get("/readyz")).json()

    assert (await http.get("/healthz")).text == "ok\n"
    assert (ready["status"], ready["auth"], ready["store"]["writable"]) == ("ok", "none", True)


async def test_metrics_are_in_prometheus_text(registry: Registry, http: httpx.AsyncClient) -> None:
    await registry.register(flat())
    registry.renew(flat().key)

    families = {
        family.name: {tuple(sorted(sample.labels.values())): sample.value for sample in family.samples}
        for family in text_string_to_metric_families((await http.get("/metrics")).text)
    }

    assert families["registry_instances"] == {("eureka",): 1.0, ("servicecenter",): 0.0}
    assert families["registry_renewals_last_minute"]["eureka",] == 1.0
    assert families["registry_changes"]["eureka", "registered"] == 1.0


async def test_no_client_can_make_the_series_grow(registry: Registry, http: httpx.AsyncClient) -> None:
    """B12."""
    before = (await http.get("/metrics")).text.count("\n")
    for number in range(20):
        await registry.register(flat(f"APPLICATION-{number}"))

    assert (await http.get("/metrics")).text.count("\n") == before


async def test_the_last_registrations_and_ends_stand_where_eurekas_users_look(
    registry: Registry, http: httpx.AsyncClient
) -> None:
    await registry.register(flat("CARTS"))
    await registry.register(flat("<b>"))
    await registry.cancel(flat("CARTS").key)

    page = (await http.get("/lastn")).text

    ended, registered = page.split("Last registrations")
    assert ("CARTS" in ended, "cancelled" in ended) == (True, True)
    assert registered.index("&lt;b&gt;") < registered.index("CARTS")
    assert "&lt;b&gt;" not in ended


async def test_general_information_and_peers_are_shown(registry: Registry) -> None:
    peer = PeerHealth("http://peer:8761/eureka", False, 3, 12.0, "connection refused")
    transport = httpx.ASGITransport(Starlette(routes=Dashboard(registry, peers=lambda: [peer]).routes()))

    async with httpx.AsyncClient(transport=transport, base_url="http://registry.test:8761") as http:
        page, metrics, ready = [(await http.get(path)).text for path in ("/", "/metrics", "/readyz")]

    assert "General information" in page
    assert "in the last minute; above" in page
    assert "connection refused; 3 instances wait to be told to it, the first for 12 s" in page
    assert 'registry_peer_waiting{url="http://peer:8761/eureka"} 3.0' in metrics
    assert '"peers":{"http://peer:8761/eureka":{"available":false,"waiting":3}}' in ready
