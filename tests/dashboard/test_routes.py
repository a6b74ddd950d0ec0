"""Pages for people, probes and metrics for machines, in whole requests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from facade.access.rules import OPEN
from facade.dashboard import pages, routes
from facade.dashboard.routes import Dashboard
from facade.registry.model import ConsumerId, Dependencies, Microservice, Record, Schema, SchemaId, ServiceId
from facade.registry.registry import Registry
from facade.registry.store import PeerHealth, Put
from facade.stores.memory import MemoryStore
from tests.registry.records import asked, flat, qualified, service

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
    monkeypatch.setattr(pages, "TURN_S", 0.0)
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


async def test_a_server_without_data_is_alive_but_not_ready(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses reads until it has read what is behind it: a load balancer is to ask another node."""
    monkeypatch.setattr(MemoryStore, "has_data", False)

    ready = await http.get("/readyz")

    assert (ready.status_code, ready.json()["status"]) == (503, "no data")
    assert (await http.get("/healthz")).status_code == 200


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


async def test_metrics_count_what_only_servicecenter_has(registry: Registry, http: httpx.AsyncClient) -> None:
    other = service().name._replace(domain="other")
    records: list[Record] = [service(), service(version="2.0.0"), Schema(key=SchemaId(service().key, "x"), text="text")]
    records.append(Microservice(key=ServiceId(other.tenant, "id"), name=other))
    await registry.transact("turn", lambda: [Put(record) for record in records])
    text = (await http.get("/metrics")).text

    assert "registry_services 3.0" in text
    assert "registry_schemas 1.0" in text
    assert "registry_domains 2.0" in text


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
    assert "connection refused</span>; 3 instances wait to be told to it, the first for 12 s" in page
    assert 'registry_peer_waiting{url="http://peer:8761/eureka"} 3.0' in metrics
    assert '"peers":{"http://peer:8761/eureka":{"available":false,"waiting":3}}' in ready


async def test_a_service_is_found_and_opened(registry: Registry, http: httpx.AsyncClient) -> None:
    orders = service()
    await registry.transact("services", lambda: [Put(orders), *(Put(service(f"other-{n}")) for n in range(3))])
    await registry.register(qualified(orders))

    found = (await http.get("/services", params={"q": "ord"})).text
    opened = (await http.get(f"/services/{orders.key.service_id}")).text

    assert f'href="/services/{orders.key.service_id}"' in found
    assert "other-1" not in found
    assert "rest://a1:9090" in opened


async def test_a_long_list_comes_in_pages(registry: Registry, http: httpx.AsyncClient) -> None:
    await registry.transact("services", lambda: [Put(service(f"s-{number:03d}")) for number in range(250)])

    last = (await http.get("/services", params={"page": "3"})).text
    beyond = (await http.get("/services", params={"page": "9999999999999"})).text

    assert ("s-199" in last, "s-200" in last, "s-249" in last) == (False, True, True)
    assert "page=2" in last
    assert "page=4" not in last
    assert "s-249" in beyond


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "½", "9" * 400])
async def test_a_page_that_is_none_is_answered_all_the_same(http: httpx.AsyncClient, page: str) -> None:
    assert (await http.get("/services", params={"page": page})).status_code == 200


@pytest.mark.parametrize("path", ["/services/none", "/services/none/schemas/x", "/services/none/schemas/x/download"])
async def test_what_is_not_there_is_told_on_a_page(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path, params={"lang": "zh"})

    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "该" in answer.text


async def test_a_schema_is_a_file_of_plain_text_whatever_its_client_says(
    registry: Registry, http: httpx.AsyncClient
) -> None:
    """A browser must not run what a client describes itself with, nor let it choose where it is stored."""
    orders = service(schemas=('..\\"\r\nX: y',))
    text = "<script>alert(1)</script>"
    schema = Schema(key=SchemaId(orders.key, orders.schemas[0]), text=text)
    await registry.transact("services", lambda: [Put(orders), Put(schema)])
    path = f"/services/{orders.key.service_id}/schemas/{quote(schema.key.schema_id, safe='')}"

    seen, got = await http.get(path), await http.get(f"{path}/download")

    assert "<script>alert" not in seen.text
    assert got.text == text
    assert got.headers["content-type"] == "text/plain; charset=utf-8"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-disposition"] == 'attachment; filename="____X__y.yaml"'


async def test_the_language_is_kept_by_every_link(registry: Registry, http: httpx.AsyncClient) -> None:
    await registry.transact("services", lambda: [Put(service())])

    for path in ("/", "/services", "/topology", "/lastn"):
        page = await http.get(path, params={"lang": "zh"})

        links = re.findall(r'href="(/(?!dashboard|eureka|v4)[^"]*)"', page.text)
        assert links
        assert all("lang=" in link for link in links)
        assert page.headers["content-language"] == "zh"
        assert '<html lang="zh">' in page.text


async def test_who_calls_a_service_comes_in_pages(registry: Registry, http: httpx.AsyncClient) -> None:
    orders = service()
    callers = [service(f"caller-{number:03d}") for number in range(120)]
    calls = [Dependencies(key=ConsumerId(one.key), providers=(orders.name.unversioned,)) for one in callers]
    await registry.transact("services", lambda: [Put(orders), *map(Put, callers), *map(Put, calls)])
    path = f"/services/{orders.key.service_id}?tab=consumers"

    first, second = (await http.get(path)).text, (await http.get(f"{path}&page=2")).text

    assert "caller-099" in first and "caller-100" not in first
    assert "caller-100" in second and "caller-119" in second and "caller-099" not in second
    assert "<small>120</small>" in first


async def test_what_an_address_asks_beside_that_is_kept_and_means_nothing(http: httpx.AsyncClient) -> None:
    """Names that our own functions have for what they are given are no exception."""
    page = await http.get("/services?path=a&self=b&query=c")

    assert page.status_code == 200
    assert "path=a&amp;self=b&amp;query=c&amp;lang=zh" in page.text


async def test_the_browsers_language_counts_where_none_is_asked_for(http: httpx.AsyncClient) -> None:
    page = await http.get("/services", headers={"Accept-Language": "zh-CN,zh;q=0.9"})

    assert "服务列表" in page.text


async def test_a_tenant_is_kept_by_every_link(registry: Registry, http: httpx.AsyncClient) -> None:
    bank = service("ledger")
    name = bank.name._replace(domain="bank & co")
    bank = replace(bank, key=ServiceId(name.tenant, name.derived_id), name=name)
    await registry.transact("services", lambda: [Put(bank)])

    page = (await http.get("/services", params={"domain": "bank & co"})).text

    assert f'href="/services/{bank.key.service_id}?domain=bank+%26+co"' in page
    assert (await http.get(f"/services/{bank.key.service_id}", params={"domain": "bank & co"})).status_code == 200
    assert (await http.get(f"/services/{bank.key.service_id}")).status_code == 404


async def test_who_calls_whom_is_drawn_on_the_page(registry: Registry, http: httpx.AsyncClient) -> None:
    orders = service()
    await registry.register(flat("CARTS"))
    wishes = Dependencies(key=ConsumerId(orders.key), providers=(asked("carts"), asked("gone")))
    await registry.transact("services", lambda: [Put(orders), Put(wishes)])

    page = (await http.get("/topology")).text
    elsewhere = (await http.get("/topology", params={"q": "gone"})).text

    assert page.count('marker-end="url(#arrow)"') == 2
    assert ('class="box eureka"' in page, 'class="box missing"' in page) == (True, True)
    assert elsewhere.count('marker-end="url(#arrow)"') == 1


async def test_whatever_shows_or_changes_the_registry_asks_for_an_account_where_there_are_some(
    dashboard: Dashboard,
) -> None:
    """S12: a page that states nothing would be open to all."""
    is_open = {path for _, path, _, needs in dashboard.table() if needs == OPEN}
    may_change = {(path, needs.verb_of(method)) for method, path, _, needs in dashboard.table() if method != "GET"}

    assert is_open == {"/healthz", "/readyz", "/metrics"}
    assert may_change == {("/services/{service_id}/status", "update")}
