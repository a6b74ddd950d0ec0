"""Renewals in batches, to every server that there is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

import pytest

from facade.clock import ManualClock
from facade.errors import StoreUnavailable
from facade.eureka.client import EurekaClient
from facade.outbound import Outbound
from facade.stores.eureka_nodes import MOST_ASKED, Nodes, facades_among
from facade.stores.upstream_eureka import EurekaBackend
from tests.stores.upstream_eureka.servers import ONE, TWO, Servers, backend_of, eureka, shown, those_called_us

pytestmark = pytest.mark.anyio


@pytest.fixture
async def backend_of_two(servers: Servers, clock: ManualClock) -> AsyncIterator[EurekaBackend]:
    backend = backend_of(servers, clock, ONE, TWO)
    await backend.read(is_whole=True)
    yield backend
    await backend.close()


# Renewing


async def test_renewals_share_one_call_to_every_server(backend_of_two: EurekaBackend, servers: Servers) -> None:
    """A server does not pass on what it hears so."""
    instances = [eureka(instance_id=f"i{number}") for number in range(100)]
    for instance in instances:
        for client in servers.registries.values():
            await client.register(instance)
    await backend_of_two.read(is_whole=True)
    await backend_of_two.renew(instances[:1])
    servers.calls.clear()

    unknown = await backend_of_two.renew(instances)

    assert unknown == []
    assert servers.calls == ["POST one /peerreplication/batch/", "POST two /peerreplication/batch/"]


async def test_who_is_unknown_to_every_server_is_named(backend_of_two: EurekaBackend) -> None:
    assert await backend_of_two.renew([eureka()]) == [eureka()]


async def test_a_server_that_misses_an_instance_is_taught_at_the_second_renewal(
    backend_of_two: EurekaBackend, servers: Servers
) -> None:
    """At the first it may have heard of the end of that instance before the others did."""
    await servers.registries["one"].register(eureka())
    await backend_of_two.read(is_whole=True)

    assert await backend_of_two.renew([eureka()]) == []
    assert shown(servers, "A", "i1", "two") is None
    assert await backend_of_two.renew([eureka()]) == []
    assert shown(servers, "A", "i1", "two") is not None


async def test_a_server_that_came_back_empty_is_taught_all_in_one_call(
    backend_of_two: EurekaBackend, servers: Servers
) -> None:
    instances = [eureka(instance_id=f"i{number}") for number in range(100)]
    for instance in instances:
        await servers.registries["one"].register(instance)
    await backend_of_two.renew(instances)
    servers.calls.clear()

    await backend_of_two.renew(instances)

    assert len(servers.registries["two"].catalogue) == 100
    assert len(servers.calls) == 3


async def test_renewals_reach_those_servers_that_answer(backend_of_two: EurekaBackend, servers: Servers) -> None:
    await servers.registries["two"].register(eureka())
    servers.silent.add("one")

    assert await backend_of_two.renew([eureka()]) == []
    servers.silent.add("two")
    with pytest.raises(StoreUnavailable):
        await backend_of_two.renew([eureka()])


async def test_with_servers_that_we_do_not_know_renewals_go_one_by_one(
    backend: EurekaBackend, servers: Servers
) -> None:
    """They hear of a renewal only by the server to which it came as a client's."""
    servers.replicas["one"] = "http://10.9.9.9:8761/eureka/"
    await backend.nodes.look()
    await backend.put(eureka(), None)
    servers.calls.clear()

    assert await backend.renew([eureka(), eureka(instance_id="stranger")]) == [eureka(instance_id="stranger")]
    assert servers.asked("PUT one /apps/A/i1") and not servers.asked("batch")


@pytest.mark.parametrize(
    "replicas",
    [
        pytest.param("", id="none"),
        pytest.param("http://localhost:8761/eureka/", id="itself-by-default"),
        pytest.param("http://user:pass@us:8080/eureka/", id="us"),
        pytest.param(f"{ONE}/", id="itself"),
    ],
)
async def test_a_server_that_names_itself_or_us_has_no_peers(
    servers: Servers, clock: ManualClock, replicas: str
) -> None:
    servers.replicas["one"] = replicas
    backend = backend_of(servers, clock, ONE)

    await backend.nodes.look()
    await backend.renew([eureka()])

    assert servers.asked("batch")


@pytest.mark.parametrize(
    "replica",
    ["http://x:99999/eureka", "http://[/eureka", "ftp://x/eureka", "http://.../", "", "x", "http://" + "x" * 99],
)
async def test_a_server_may_name_what_it_likes(backend: EurekaBackend, servers: Servers, replica: str) -> None:
    servers.replicas["one"] = f"{replica},http://us:8080/eureka/"

    await backend.nodes.look()

    assert backend.nodes.are_all_known == (replica == "")


async def test_renewals_ask_for_nobody_else(backend: EurekaBackend, servers: Servers) -> None:
    """Who takes part is found out beside them, so that no server can hold them up with what it names."""
    await backend.put(eureka(), None)
    servers.calls.clear()

    await backend.renew([eureka()])

    assert servers.calls == ["POST one /peerreplication/batch/"]


async def test_only_few_of_those_that_a_server_names_are_asked_and_facades_once(
    servers: Servers, clock: ManualClock
) -> None:
    asked: list[Sequence[str]] = []

    async def find(urls: Sequence[str]) -> Collection[str]:
        asked.append(urls)
        return await those_called_us(urls)

    nodes = Nodes(EurekaClient(Outbound([ONE], clock=clock, transport=servers)), find)
    strangers = [f"http://10.9.9.{number}:8761/eureka" for number in range(100)]
    servers.replicas["one"] = ",".join(["http://us:8080/eureka", "file:///etc/passwd", *strangers])

    await nodes.look()
    await nodes.look()

    assert [len(urls) for urls in asked] == [MOST_ASKED, MOST_ASKED]
    assert "http://us:8080/eureka" in asked[0] and "http://us:8080/eureka" not in asked[1]
    assert all(url.startswith("http") for urls in asked for url in urls)


async def test_a_facade_is_told_from_whatever_else_answers() -> None:
    """Nothing listens here."""
    assert await facades_among(["http://127.0.0.1:9/eureka", "http://x:99999/eureka"]) == []


# Several servers


async def test_an_instance_that_one_server_misses_is_still_held(
    backend_of_two: EurekaBackend, servers: Servers
) -> None:
    await servers.registries["two"].register(eureka())

    assert await backend_of_two.holds(eureka())


async def test_a_silent_server_leaves_open_whether_an_instance_is_held(
    backend_of_two: EurekaBackend, servers: Servers
) -> None:
    servers.silent.add("one")

    with pytest.raises(StoreUnavailable):
        await backend_of_two.holds(eureka())


async def test_an_id_that_no_path_can_hold_is_renewed_and_removed_all_the_same(
    backend: EurekaBackend, servers: Servers
) -> None:
    """Some client registered it straight with the server, which takes such a thing."""
    instance = eureka(instance_id="a/b")
    await servers.registries["one"].register(instance)
    await backend.read(is_whole=True)

    assert await backend.renew([instance]) == []
    assert await backend.holds(instance)
    await backend.remove(instance)
    assert shown(servers, "A", "a/b") is None


async def test_the_title_names_the_servers(servers: Servers, clock: ManualClock) -> None:
    assert backend_of(servers, clock, ONE, TWO).title == f"Eureka at {ONE}, {TWO}"
