"""What the pages, the probe and the metrics tell of the servers that share a store."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from facade.clock import ManualClock
from facade.dashboard import routes
from facade.dashboard.nodes import nodes_of
from facade.dashboard.routes import Dashboard
from facade.registry.model import Origin
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.registry.store import StoreHealth
from tests.registry.records import flat
from tests.registry.shared import SharedStore, node

pytestmark = pytest.mark.anyio

ONE = node("10.0.0.1:8761", is_self=True, age_s=0.0, revision=9)
TWO = node("10.0.0.2:8761", leads=True, lag_ms=25)
THREE = node("10.0.0.3:8761", is_missing=True, age_s=41.7)


@pytest.fixture
def store(clock: ManualClock) -> SharedStore:
    return SharedStore(clock, ONE, THREE, TWO)


@pytest.fixture
async def registry(store: SharedStore, clock: ManualClock, policy: Policy) -> AsyncIterator[Registry]:
    registry = Registry(store, clock, policy)
    await registry.open()
    yield registry
    await registry.close()


@pytest.fixture
async def http(registry: Registry) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=Dashboard(registry).routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://registry.test:8761") as http:
        yield http


async def test_this_one_comes_first_and_the_others_by_name(registry: Registry, store: SharedStore) -> None:
    store.listed = (THREE._replace(age_s=0.5), TWO, ONE._replace(name="zebra:8761"))

    assert [one.name for one in nodes_of(registry)] == ["zebra:8761", "10.0.0.2:8761", "10.0.0.3:8761"]


async def test_of_two_that_share_a_name_the_one_heard_last_keeps_it(registry: Registry, store: SharedStore) -> None:
    """Killed and started again: two series of one name would make every reading of the metrics fail."""
    killed = node("a:1", id="0a1b2c3d", age_s=30.0, is_missing=True)
    store.listed = (node("a:1", id="ffffffff"), killed)

    assert [(one.name, one.id) for one in nodes_of(registry)] == [("a:1", "ffffffff"), ("a:1 (0a1b2c)", "0a1b2c3d")]


async def test_the_page_shows_each_node_and_what_a_missing_one_means(http: httpx.AsyncClient) -> None:
    page = (await http.get("/", params={"lang": "en"})).text

    table = page.partition('id="nodes"')[2].partition("</section>")[0]
    one, two, three = table.partition("<tbody>")[2].split("</tr>")[:3]
    assert ("10.0.0.1:8761" in one, "this one" in one, "<td>9</td>" in one) == (True, True, True)
    assert ("10.0.0.2:8761" in two, "ends lapsed leases" in two, "25 ms" in two) == (True, True, True)
    assert ("10.0.0.3:8761" in three, "missing" in three, "42 s ago" in three) == (True, True, True)
    assert "leases that it heard last are kept" in table


async def test_the_page_of_a_server_alone_has_no_nodes(http: httpx.AsyncClient, store: SharedStore) -> None:
    store.listed = ()

    assert "Nodes" not in (await http.get("/")).text
    assert (await http.get("/readyz")).json()["nodes"] == []


async def test_names_of_nodes_are_escaped(http: httpx.AsyncClient, store: SharedStore) -> None:
    """Whoever may write to the store may call himself anything."""
    store.listed = (ONE, node("<script>alert(1)</script>"))

    assert "<script>alert" not in (await http.get("/")).text


async def test_the_probe_lists_the_nodes(http: httpx.AsyncClient, registry: Registry) -> None:
    await registry.register(flat())

    ready = (await http.get("/readyz")).json()

    assert ready["nodes"][2] == {
        "id": "id-of-10.0.0.2:8761",
        "name": "10.0.0.2:8761",
        "self": False,
        "leads": True,
        "missing": False,
        "ageSeconds": 1.0,
        "lagMilliseconds": 25,
        "revision": 7,
        "renewalsLastMinute": 120,
    }
    assert ready["instances"] == {Origin.EUREKA: 1, Origin.SERVICECENTER: 0}


async def test_the_metrics_have_a_series_for_each_node(http: httpx.AsyncClient) -> None:
    families = {
        family.name: {sample.labels.get("node", ""): sample.value for sample in family.samples}
        for family in text_string_to_metric_families((await http.get("/metrics")).text)
    }

    assert families["registry_nodes"] == {"": 3.0}
    assert families["registry_node_missing"] == {ONE.name: 0.0, TWO.name: 0.0, THREE.name: 1.0}
    assert families["registry_node_leads"] == {ONE.name: 0.0, TWO.name: 1.0, THREE.name: 0.0}
    assert families["registry_node_lag_seconds"][TWO.name] == 0.025
    assert families["registry_node_age_seconds"][THREE.name] == 41.7
    assert families["registry_node_revision"][ONE.name] == 9.0
    assert families["registry_node_renewals_last_minute"][TWO.name] == 120.0


async def test_the_store_says_on_every_page_in_its_own_words_why_nothing_is_evicted(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Redis at r:6379 has not answered for 12 s: evictions are frozen."
    monkeypatch.setattr(SharedStore, "health", lambda _: StoreHealth(False, text, waiting=3))
    monkeypatch.setattr(SharedStore, "data_age_s", 12.0)

    page, ready, metrics = [await http.get(path) for path in ("/", "/readyz", "/metrics")]

    assert f'<span lang="en">{text}</span>' in page.text
    assert "Answers may be 12 s old." in page.text
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["store"] == {"writable": False, "text": text, "dataAgeSeconds": 12.0, "waiting": 3}
    assert "registry_waiting_writes 3.0" in metrics.text
    assert "registry_data_age_seconds 12.0" in metrics.text


async def test_an_open_page_is_told_when_the_nodes_fare_otherwise(
    registry: Registry, store: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing may register for hours, and a node be missing meanwhile."""
    monkeypatch.setattr(routes, "TOLD_EVERY_S", 0)
    monkeypatch.setattr(routes, "STILL_THERE_EVERY_S", 0.001)
    told = Dashboard(registry).told()

    at_first, unchanged = await anext(told), await anext(told)
    store.listed = (ONE, TWO._replace(is_missing=True), THREE)

    assert unchanged == ": still here\n\n"
    assert await _next_but_comments(told) == at_first
    await told.aclose()


async def _next_but_comments(told: AsyncIterator[str]) -> str:
    for _ in range(100):
        if not (event := await anext(told)).startswith(":"):
            return event
    raise AssertionError("nothing but comments")
