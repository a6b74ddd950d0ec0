"""The Backend over Eureka, against fronts of our own in process: they are the servers behind us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from email.utils import formatdate
from typing import Any

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.errors import StoreUnavailable, UpstreamRefused
from facade.eureka.client import EurekaClient
from facade.eureka.records import BatchItem, BatchResult, InstanceInfo
from facade.eureka.routes import EurekaFront, EurekaOptions
from facade.eureka.wire_json import decode_batch_results, encode_batch
from facade.outbound import Outbound
from facade.registry import rules
from facade.registry.model import Instance, InstanceKey, Origin, Record, RecordKey, Space, Status, Tenant
from facade.registry.registry import Registry
from facade.registry.rules import Policy, is_same_but_for_time
from facade.servicecenter import mapping
from facade.servicecenter.records import HealthCheck, MicroService, MicroServiceInstance
from facade.stores.eureka_nodes import MOST_ASKED, Nodes, facades_among
from facade.stores.memory import MemoryStore
from facade.stores.packed_in_eureka import pack
from facade.stores.upstream_eureka import EurekaBackend
from tests.eureka import registrations

pytestmark = pytest.mark.anyio

ONE, TWO = "http://10.0.0.1:8761/eureka", "http://10.0.0.2:8761/eureka"
NAMES = {"10.0.0.1": "one", "10.0.0.2": "two"}
POLICY = Policy(self_preservation=False)


class Servers(httpx.AsyncBaseTransport):
    """Eureka servers by name. They do not know each other, so a test sees what each of them is told."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.registries: dict[str, Registry] = {}
        self.calls: list[str] = []
        self.silent: set[str] = set()
        self.replicas: dict[str, str] = {}
        self._fronts: dict[str, httpx.ASGITransport] = {}

    async def start(self, host: str, options: EurekaOptions | None = None) -> Registry:
        """An empty server; whatever was there before is gone."""
        registry = Registry(MemoryStore(self._clock), self._clock, Policy(self_preservation=False, keep_marks=True))
        await registry.open()
        self.registries[host] = registry
        self._fronts[host] = httpx.ASGITransport(EurekaFront(registry, options))
        return registry

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, path = NAMES[request.url.host], request.url.path
        self.calls.append(f"{request.method} {host} {path.removeprefix('/eureka')}")
        if host in self.silent:
            raise httpx.ConnectError("connection refused")
        if path == "/eureka/status" and host in self.replicas:
            body = f"<x><registered-replicas>{self.replicas[host]}</registered-replicas></x>"
            return httpx.Response(200, stream=httpx.ByteStream(body.encode()))
        response = await self._fronts[host].handle_async_request(request)
        response.headers["date"] = formatdate(self._clock.now_ms() / 1000, usegmt=True)
        return response

    def asked(self, word: str) -> list[str]:
        return [call for call in self.calls if word in call]


@pytest.fixture
async def servers(clock: ManualClock) -> Servers:
    servers = Servers(clock)
    await servers.start("one")
    await servers.start("two")
    return servers


def backend_of(servers: Servers, clock: ManualClock, *bases: str, **options: Any) -> EurekaBackend:
    outbound = Outbound(bases, clock=clock, transport=servers)
    return EurekaBackend(EurekaClient(outbound), POLICY, clock, find_facades=those_called_us, **options)


async def those_called_us(urls: Sequence[str]) -> Collection[str]:
    return [url for url in urls if url.startswith("http://us:")]


@pytest.fixture
async def backend(servers: Servers, clock: ManualClock) -> AsyncIterator[EurekaBackend]:
    """Over one server, read once, and its addresses known."""
    backend = backend_of(servers, clock, ONE)
    await backend.read(is_whole=True)
    await backend.nodes.look()
    yield backend
    await backend.close()


@pytest.fixture
async def backend_of_two(servers: Servers, clock: ManualClock) -> AsyncIterator[EurekaBackend]:
    backend = backend_of(servers, clock, ONE, TWO)
    await backend.read(is_whole=True)
    yield backend
    await backend.close()


SERVICE = mapping.to_service(
    MicroService(app_id="shop", service_name="orders", version="1.0.0", description="d"),
    Tenant(),
    {"t": "1"},
    0,
    POLICY,
)


def eureka(**changes: Any) -> Instance:
    return replace(registrations.instance(**changes), updated_ms=registrations.NOW_MS)


def servicecenter(**changes: Any) -> Instance:
    """Its lease is 40 s: four intervals of ten."""
    document = MicroServiceInstance(
        endpoints=("rest://10.0.0.9:9090", "highway://10.0.0.9:7070"),
        host_name="h",
        properties={"p": "1"},
        health_check=HealthCheck(mode="push", interval=10, times=3),
    )
    instance = mapping.to_instance(document, SERVICE, "i9", POLICY)
    return replace(instance, updated_ms=registrations.NOW_MS, registered_ms=registrations.NOW_MS, **changes)


def shown(servers: Servers, application: str, instance_id: str, host: str = "one") -> Instance | None:
    """What a server holds under a name that Eureka's readers know."""
    key = InstanceKey(Origin.EUREKA, Space(), application, instance_id)
    return servers.registries[host].catalogue.instance(key)


def assert_same(record: Record | None, expected: Record) -> None:
    assert isinstance(record, Instance) and isinstance(expected, Instance)
    assert is_same_but_for_time(record, expected), (record, expected)


BOTH = pytest.mark.parametrize(
    "instance", [pytest.param(eureka(), id="eureka"), pytest.param(servicecenter(), id="servicecenter")]
)


# What it takes


async def test_it_takes_instances_alone(servers: Servers, clock: ManualClock) -> None:
    backend = backend_of(servers, clock, ONE)

    assert backend.takes(eureka().key)
    assert backend.takes(servicecenter().key)
    assert not backend.takes(SERVICE.key)


async def test_a_eureka_server_has_one_name_space(servers: Servers, clock: ManualClock) -> None:
    """ServiceCenter's instances of others are told apart there by their names."""
    backend = backend_of(servers, clock, ONE)
    production = Space(environment="production")

    assert not backend.takes(eureka(space=production).key)
    assert backend.takes(servicecenter().key._replace(space=production))


# There and back


@BOTH
async def test_what_is_put_is_in_the_next_reading_as_it_was(backend: EurekaBackend, instance: Instance) -> None:
    await backend.put(instance, None)

    seen = await backend.read(is_whole=False)

    assert_same(seen.records[instance.key], instance)
    assert seen.changed == {instance.key}


@BOTH
async def test_another_node_of_ours_reads_the_same(
    backend: EurekaBackend, servers: Servers, clock: ManualClock, instance: Instance
) -> None:
    await backend.put(instance, None)

    seen = await backend_of(servers, clock, ONE).read(is_whole=False)

    assert_same(seen.records[instance.key], instance)


@BOTH
async def test_what_is_removed_is_gone_from_the_next_reading(backend: EurekaBackend, instance: Instance) -> None:
    await backend.put(instance, None)
    await backend.remove(instance)

    seen = await backend.read(is_whole=False)

    assert instance.key not in seen.records
    assert not await backend.holds(instance)


@BOTH
async def test_removing_what_is_gone_is_no_error(backend: EurekaBackend, instance: Instance) -> None:
    await backend.remove(instance)


@BOTH
async def test_what_is_kept_can_be_told_without_asking(backend: EurekaBackend, instance: Instance) -> None:
    assert_same(backend.as_kept(instance), instance)


async def test_the_owners_word_behind_an_override_is_not_kept(backend: EurekaBackend) -> None:
    """Eureka shows one status: an override hides UP or OUT_OF_SERVICE, nobody can tell which."""
    hidden = replace(eureka(status="OUT_OF_SERVICE"), override=Status.DOWN, status=Status.DOWN)

    kept = backend.as_kept(hidden)

    assert isinstance(kept, Instance)
    assert (kept.status, kept.override, kept.reported) == (Status.DOWN, Status.DOWN, Status.UP)


async def test_metadata_that_would_spoil_the_servers_xml_travels_sealed(
    backend: EurekaBackend, servers: Servers
) -> None:
    instance = eureka(metadata={"": "1", "a:b": "2", "c": "\x01", "fine": "3"})
    await backend.put(instance, None)

    held = shown(servers, "A", "i1")

    assert held is not None and set(held.metadata) == {"fine", "_eureka.metadata"}
    assert_same((await backend.read(is_whole=True)).records[instance.key], instance)


async def test_an_address_that_would_spoil_it_is_refused(backend: EurekaBackend) -> None:
    with pytest.raises(UpstreamRefused):
        await backend.put(eureka(hostName="h\x01"), None)


async def test_the_services_of_instances_can_be_rebuilt_from_them(
    backend: EurekaBackend, servers: Servers, clock: ManualClock
) -> None:
    backend.lookup = {SERVICE.key: SERVICE}.get
    instance = servicecenter()
    await backend.put(instance, None)
    stranger = backend_of(servers, clock, ONE)

    await stranger.read(is_whole=True)
    assert list(stranger.rebuilt()) == [SERVICE]
    await stranger.remove(instance)
    assert not stranger.rebuilt()


async def test_a_packed_instance_without_its_marks_is_still_known_to_who_wrote_it(backend: EurekaBackend) -> None:
    instance = servicecenter()
    await backend.put(instance, None)
    client = backend.client
    live = await client.instance("SHOP.ORDERS", "i9")
    assert live is not None
    await client.register(replace(live.info, metadata={}, status=Status.DOWN))

    seen = await backend.read(is_whole=True)

    assert list(seen.records) == [instance.key]


async def test_metadata_that_an_operator_sets_at_the_server_wins_over_what_was_packed(
    backend: EurekaBackend, clock: ManualClock
) -> None:
    instance = servicecenter()
    await backend.put(instance, None)
    clock.advance(1)
    live = await backend.client.instance("SHOP.ORDERS", "i9")
    assert live is not None
    changes = {"p": "2", "zone": "z", "version": "9"}
    await backend.client.register(replace(live.info, metadata=live.info.metadata | changes))

    seen = await backend.read(is_whole=True)

    assert_same(seen.records[instance.key], replace(instance, metadata=instance.metadata | changes))


async def test_an_instance_whose_id_no_path_can_hold_does_not_fit(backend: EurekaBackend) -> None:
    instance = servicecenter(key=servicecenter().key._replace(instance_id=".."))

    with pytest.raises(UpstreamRefused):
        await backend.put(instance, None)
    with pytest.raises(UpstreamRefused):
        backend.as_kept(instance)


# Statuses

OWN_WORDS = [Status.UP, Status.DOWN, Status.STARTING, Status.OUT_OF_SERVICE]


@pytest.mark.parametrize("after", OWN_WORDS)
@pytest.mark.parametrize("before", OWN_WORDS)
@BOTH
async def test_the_server_shows_the_status_that_is_put(
    backend: EurekaBackend, instance: Instance, before: Status, after: Status
) -> None:
    """By its own rules it would keep UP or OUT_OF_SERVICE when the other is registered."""
    first = replace(instance, status=before, reported=before)
    second = replace(instance, status=after, reported=after, dirty_ms=2_000)
    await backend.put(first, None)
    await backend.put(second, first)

    assert_same((await backend.read(is_whole=True)).records[instance.key], second)


OVERRIDES = [None, Status.UP, Status.DOWN, Status.OUT_OF_SERVICE]


@pytest.mark.parametrize("after", OVERRIDES)
@pytest.mark.parametrize("before", OVERRIDES)
@BOTH
async def test_the_server_holds_the_override_that_is_put(
    backend: EurekaBackend, instance: Instance, before: Status | None, after: Status | None
) -> None:
    """By its own rules it would record none that names what is shown already."""
    first = replace(instance, status=before or Status.UP, override=before)
    second = replace(instance, status=after or Status.UP, override=after)
    await backend.put(first, None)
    await backend.put(second, first)

    assert_same((await backend.read(is_whole=True)).records[instance.key], second)


async def test_an_override_alone_is_no_new_registration(backend: EurekaBackend, servers: Servers) -> None:
    instance = eureka()
    await backend.put(instance, None)
    servers.calls.clear()

    await backend.put(rules.overridden(instance, Status.OUT_OF_SERVICE), instance)

    assert not servers.asked("POST")
    assert servers.asked("PUT one /apps/A/i1/status")


async def test_an_operator_at_the_server_overrides_a_packed_instance(backend: EurekaBackend) -> None:
    instance = servicecenter()
    await backend.put(instance, None)
    await backend.client.set_status("SHOP.ORDERS", "i9", Status.OUT_OF_SERVICE, 0)

    hear_of_it = BatchItem(
        action="StatusUpdate", app_name="SHOP.ORDERS", instance_id="i9", status=Status.OUT_OF_SERVICE
    )
    hear(backend, hear_of_it)

    seen = await backend.read(is_whole=False)
    assert_same(seen.records[instance.key], rules.overridden(instance, Status.OUT_OF_SERVICE))


async def test_what_its_owner_registered_there_later_is_not_overwritten(
    backend: EurekaBackend, servers: Servers
) -> None:
    await backend.client.register(registrations.read(lastDirtyTimestamp="3000", hostName="later"))

    await backend.put(eureka(lastDirtyTimestamp="2000", hostName="earlier"), None)

    held = shown(servers, "A", "i1")
    assert held is not None and held.host == "later"


async def test_a_packed_instance_is_replaced_though_our_clock_went_back(backend: EurekaBackend) -> None:
    """The server keeps out what is older by lastDirtyTimestamp, and several of our nodes write."""
    first = servicecenter()
    second = replace(first, updated_ms=first.updated_ms - 60_000, metadata={"p": "2"})
    await backend.put(first, None)
    await backend.put(second, first)

    assert_same((await backend.read(is_whole=True)).records[first.key], second)


# Reading


async def test_nothing_is_decoded_while_nothing_changes(backend: EurekaBackend, servers: Servers) -> None:
    await backend.put(eureka(), None)
    await backend.read(is_whole=False)

    seen = await backend.read(is_whole=False)

    assert seen.changed == set()


async def test_a_change_there_is_in_the_next_reading(backend: EurekaBackend) -> None:
    await backend.client.register(registrations.PLAIN)
    assert (await backend.read(is_whole=False)).changed == {eureka().key}
    await backend.client.cancel("A", "i1")

    seen = await backend.read(is_whole=False)

    assert (seen.changed, dict(seen.records)) == ({eureka().key}, {})


async def test_a_check_sum_that_does_not_fit_leads_to_a_whole_reading(
    backend: EurekaBackend, servers: Servers, clock: ManualClock
) -> None:
    """The delta tells of the last three minutes, and somebody stopped us for longer."""
    await backend.client.register(registrations.PLAIN)
    clock.advance(200)
    servers.calls.clear()

    seen = await backend.read(is_whole=False)

    assert seen.changed == {eureka().key}
    assert servers.asked("/apps")[:2] == ["GET one /apps/delta", "GET one /apps"]


async def test_a_server_without_deltas_is_read_whole_now_and_then(servers: Servers, clock: ManualClock) -> None:
    await servers.start("one", EurekaOptions(disable_delta=True))
    backend = backend_of(servers, clock, ONE)
    await backend.read(is_whole=True)
    servers.calls.clear()

    for _ in range(10):
        await backend.read(is_whole=False)
        clock.advance(1)

    assert servers.calls.count("GET one /apps") == 1


async def test_a_server_that_is_silent_is_not_empty(backend: EurekaBackend, servers: Servers) -> None:
    servers.silent.add("one")

    with pytest.raises(StoreUnavailable):
        await backend.read(is_whole=True)
    assert "connection refused" in backend.client.outbound.trouble


async def test_a_list_out_of_its_caches_does_not_undo_what_was_written(
    backend: EurekaBackend, servers: Servers, clock: ManualClock
) -> None:
    """Its lists are up to half a minute old: here the server is asked when it has forgotten, which looks the same."""
    instance = eureka()
    await backend.put(instance, None)
    await servers.start("one")

    assert instance.key in (await backend.read(is_whole=True)).records
    clock.advance(65)
    assert instance.key not in (await backend.read(is_whole=True)).records


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


# What a server tells us as its peer

HELD = registrations.PLAIN


def hear(backend: EurekaBackend, item: BatchItem, address: str = "10.0.0.1") -> BatchResult:
    result = backend.hear(address, item)
    assert result is not None
    return result


def told(action: str, info: InstanceInfo | None = None, **fields: Any) -> BatchItem:
    fields = {"app_name": "A", "instance_id": "i1", "last_dirty_ms": 1000, "status": Status.UP} | fields
    return BatchItem(action=action, instance_info=info, **fields)


async def test_what_a_server_tells_is_in_the_next_reading_without_asking(
    backend: EurekaBackend, servers: Servers, clock: ManualClock
) -> None:
    servers.calls.clear()

    assert hear(backend, told("Register", registrations.PLAIN)).status == 200
    seen = await backend.read(is_whole=False)

    assert seen.changed == {eureka().key}
    assert servers.calls == []
    assert_same(seen.records[eureka().key], eureka())


async def test_a_server_that_tells_us_is_still_looked_at_now_and_then(
    backend: EurekaBackend, servers: Servers, clock: ManualClock
) -> None:
    hear(backend, told("Heartbeat"))
    servers.calls.clear()

    for _ in range(11):
        await backend.read(is_whole=False)
        clock.advance(1)

    assert len(servers.asked("GET one /apps/delta")) == 2


async def test_a_change_that_is_told_is_hinted(backend: EurekaBackend) -> None:
    hints: list[str] = []
    listening = asyncio.create_task(backend.watch(lambda: hints.append("hint")))
    await asyncio.sleep(0)

    hear(backend, told("Register", HELD))
    hear(backend, told("Heartbeat"))
    listening.cancel()

    assert hints == ["hint"]


async def test_a_list_that_is_older_does_not_undo_what_was_told(backend: EurekaBackend, clock: ManualClock) -> None:
    await backend.client.register(HELD)
    changed = replace(HELD, host_name="later", last_dirty_ms=2000, last_updated_ms=clock.now_ms() + 1)
    hear(backend, told("Register", changed))
    hear(backend, told("Register", replace(HELD, instance_id="i2"), instance_id="i2"))

    seen = await backend.read(is_whole=True)

    assert sorted(record.host for record in seen.records.values() if isinstance(record, Instance)) == ["h1", "later"]


async def test_a_list_that_is_newer_does(backend: EurekaBackend, clock: ManualClock) -> None:
    hear(backend, told("Register", replace(HELD, last_updated_ms=clock.now_ms() - 1)))
    await backend.client.register(replace(HELD, host_name="later"))

    seen = await backend.read(is_whole=True)

    assert [record.host for record in seen.records.values() if isinstance(record, Instance)] == ["later"]


EVENTS = [
    pytest.param(told("Heartbeat"), 200, Status.UP, id="heartbeat"),
    pytest.param(told("Heartbeat", last_dirty_ms=1001), 404, Status.UP, id="heartbeat-of-newer-data"),
    pytest.param(told("Heartbeat", last_dirty_ms=999), 409, Status.UP, id="heartbeat-of-older-data"),
    pytest.param(told("Heartbeat", instance_id="stranger"), 404, Status.UP, id="heartbeat-of-a-stranger"),
    pytest.param(told("Cancel"), 200, None, id="cancel"),
    pytest.param(told("Cancel", instance_id="stranger"), 404, Status.UP, id="cancel-of-a-stranger"),
    pytest.param(told("StatusUpdate", status=Status.DOWN), 200, Status.DOWN, id="status"),
    pytest.param(told("StatusUpdate", status=None), 500, Status.UP, id="status-unknown"),
    pytest.param(told("StatusUpdate", instance_id="stranger"), 404, Status.UP, id="status-of-a-stranger"),
    pytest.param(told("DeleteStatusOverride", instance_id="stranger"), 404, Status.UP, id="lift-of-a-stranger"),
    pytest.param(told("DeleteStatusOverride", status=Status.UNKNOWN), 200, Status.UP, id="lift-of-nothing"),
    pytest.param(told("Register"), 500, Status.UP, id="register-nothing"),
    pytest.param(told("Register", replace(HELD, app="B")), 200, Status.UP, id="register-another"),
    pytest.param(told("Register", replace(HELD, status=Status.DOWN)), 200, Status.DOWN, id="register"),
    pytest.param(told("Register", replace(HELD, status=Status.DOWN, last_dirty_ms=1)), 200, Status.UP, id="older"),
    pytest.param(told("Register", instance_id=None), 500, Status.UP, id="without-an-id"),
    pytest.param(told("Dance"), 500, Status.UP, id="unknown-action"),
]


@pytest.mark.parametrize(("event", "answer", "status"), EVENTS)
async def test_an_event_is_answered_as_a_peer_does(
    backend: EurekaBackend, event: BatchItem, answer: int, status: Status | None
) -> None:
    await backend.client.register(HELD)
    await backend.read(is_whole=True)

    result = hear(backend, event)

    record = (await backend.read(is_whole=False)).records.get(eureka().key)
    assert result.status == answer
    assert (record.status if isinstance(record, Instance) else None) is status
    assert (result.entity is not None) == (answer == 409)


async def test_an_override_that_is_told_holds_until_it_is_lifted(backend: EurekaBackend) -> None:
    hear(backend, told("Register", HELD))
    hear(backend, told("StatusUpdate", status=Status.OUT_OF_SERVICE))
    hear(backend, told("Register", HELD))
    held = (await backend.read(is_whole=False)).records[eureka().key]
    hear(backend, told("DeleteStatusOverride", status=Status.UP))
    lifted = (await backend.read(is_whole=False)).records[eureka().key]

    assert isinstance(held, Instance) and isinstance(lifted, Instance)
    assert (held.status, held.override) == (Status.OUT_OF_SERVICE, Status.OUT_OF_SERVICE)
    assert (lifted.status, lifted.override) == (Status.UP, None)


async def test_a_stranger_is_not_heard(backend: EurekaBackend, servers: Servers, clock: ManualClock) -> None:
    """Nor does it keep us from asking."""
    assert backend.hear("10.6.6.6", told("Register", HELD)) is None
    clock.advance(1)
    servers.calls.clear()

    seen = await backend.read(is_whole=False)

    assert not seen.records
    assert servers.calls == ["GET one /apps/delta"]


async def test_a_server_is_heard_over_a_socket_for_both_ips(backend: EurekaBackend) -> None:
    assert hear(backend, told("Register", HELD), "::ffff:10.0.0.1").status == 200


async def test_nobody_is_heard_before_we_know_the_addresses_of_servers(servers: Servers, clock: ManualClock) -> None:
    assert backend_of(servers, clock, ONE).hear("10.0.0.1", told("Register", HELD)) is None


async def send_batch(
    registry: Registry, backend: EurekaBackend, address: str, *items: BatchItem
) -> tuple[int, list[BatchResult]]:
    """To our own front, with that backend behind it."""
    transport = httpx.ASGITransport(EurekaFront(registry, hear=backend.hear), client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://us") as http:
        headers = {"content-type": "application/json"}
        answer = await http.post("/eureka/peerreplication/batch", content=encode_batch(items), headers=headers)
    return answer.status_code, decode_batch_results(answer.content)


async def test_what_a_server_behind_us_tells_the_front_is_heard(backend: EurekaBackend, registry: Registry) -> None:
    await send_batch(registry, backend, "10.0.0.1", told("Register", HELD))

    assert eureka().key in (await backend.read(is_whole=False)).records
    assert not len(registry.catalogue)


async def test_what_a_stranger_tells_the_front_goes_the_ordinary_way(
    backend: EurekaBackend, registry: Registry
) -> None:
    assert await send_batch(registry, backend, "10.6.6.6", told("Register", HELD)) == (200, [BatchResult(200)])

    assert not (await backend.read(is_whole=False)).records
    assert registry.catalogue.instance(eureka().key) is not None


async def test_a_stranger_cannot_end_what_stands_behind_us_out_of_sight(
    backend: EurekaBackend, registry: Registry
) -> None:
    await backend.put(eureka(), None)

    assert await send_batch(registry, backend, "10.6.6.6", told("Cancel")) == (200, [BatchResult(404)])

    assert eureka().key in (await backend.read(is_whole=False)).records


async def test_a_stranger_cannot_forge_an_instance_of_servicecenter(backend: EurekaBackend, registry: Registry) -> None:
    forged = pack(servicecenter(), SERVICE)
    item = told("Register", forged, app_name=forged.app, instance_id="i9")

    assert await send_batch(registry, backend, "10.6.6.6", item) == (200, [BatchResult(200)])

    assert not (await backend.read(is_whole=False)).records
    assert not len(registry.catalogue)


async def test_our_own_renewal_that_comes_back_from_an_unknown_address_is_none(
    backend: EurekaBackend, registry: Registry, clock: ManualClock
) -> None:
    """Else the server and we would keep for ever alive what nobody else renews."""
    await registry.register(eureka())
    clock.advance(60)
    before = registry.remaining_s(eureka().key)

    assert await send_batch(registry, backend, "10.6.6.6", told("Heartbeat")) == (200, [BatchResult(200)])

    assert registry.remaining_s(eureka().key) == before


# What nobody can make sense of


def spoilt(**marks: str) -> InstanceInfo:
    packed = pack(servicecenter(), SERVICE)
    return replace(packed, metadata=packed.metadata | marks, last_dirty_ms=registrations.NOW_MS + 1)


DEEP = '{"x":' + "[" * 3000
"""A member that nobody reads, but that has to be passed over."""
SPOILT = [
    pytest.param(spoilt(**{"_sc.instance": DEEP}), id="nested"),
    pytest.param(spoilt(**{"_sc.service": DEEP}), id="service-nested"),
    pytest.param(spoilt(**{"_sc.dirty": "9" * 30}), id="dirty"),
    pytest.param(spoilt(**{"_sc.instance": '{"healthCheck":{"interval":' + "9" * 30 + "}}"}), id="interval"),
    pytest.param(spoilt(**{"_sc.instance": '{"healthCheck":{"interval":9999999999}}'}), id="interval-of-64-bits"),
    pytest.param(spoilt(**{"_sc.instance": '{"timestamp":"' + "9" * 30 + '"}'}), id="moment"),
    pytest.param(replace(HELD, metadata={"_eureka.metadata": DEEP}), id="sealed"),
    pytest.param(replace(HELD, last_dirty_ms=-1, metadata={"_sc.instance": DEEP}), id="marks-alone"),
]


@pytest.mark.parametrize("info", SPOILT)
async def test_one_instance_that_cannot_be_read_hides_no_other(backend: EurekaBackend, info: InstanceInfo) -> None:
    good = eureka(instance_id="good")
    await backend.client.register(info)
    await backend.put(good, None)

    seen = await backend.read(is_whole=True)

    assert_same(seen.records[good.key], good)
    assert all(storable(record) for record in seen.records.values())


@pytest.mark.parametrize("info", SPOILT)
async def test_one_instance_that_cannot_be_read_is_answered_all_the_same(
    backend: EurekaBackend, registry: Registry, info: InstanceInfo
) -> None:
    item = told("Register", info, app_name=info.app, instance_id=info.instance_id)

    assert await send_batch(registry, backend, "10.0.0.1", item) == (200, [BatchResult(200)])


async def test_whatever_goes_wrong_with_one_instance_it_alone_is_left_out_and_told_once(
    backend: EurekaBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """A record with a number that no store can count stands for all that nobody thought of."""
    odd = replace(HELD, instance_id="odd", last_dirty_ms=2**70)
    for times in range(3):
        hear(backend, told("Register", replace(odd, host_name=f"h{times}"), instance_id="odd"))
        hear(backend, told("Register", replace(HELD, host_name=f"h{times}")))
        seen = await backend.read(is_whole=False)

    assert list(seen.records) == [eureka().key]
    assert len([record for record in caplog.records if "left out" in record.message]) == 1


def storable(record: Record) -> bool:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=Record) == record


# Leases of instances born in ServiceCenter


async def seen_after(backend: EurekaBackend, clock: ManualClock, seconds: int, key: RecordKey) -> bool:
    """Whether it is there after so many seconds of reading every five."""
    for _ in range(seconds // 5):
        clock.advance(5)
        seen = await backend.read(is_whole=False)
    return key in seen.records


async def test_a_packed_instance_that_nobody_renews_ends_by_its_own_terms(
    backend: EurekaBackend, servers: Servers, clock: ManualClock
) -> None:
    """Four intervals of ten seconds; the server would wait for its own, or for ever."""
    instance = servicecenter()
    await backend.put(instance, None)

    assert await seen_after(backend, clock, 40, instance.key)
    assert not await seen_after(backend, clock, 10, instance.key)
    assert shown(servers, "SHOP.ORDERS", "i9") is None


async def test_a_packed_instance_that_another_node_renews_lives_on(
    backend: EurekaBackend, servers: Servers, clock: ManualClock
) -> None:
    instance = servicecenter()
    await backend.put(instance, None)
    await seen_after(backend, clock, 35, instance.key)
    await backend_of(servers, clock, ONE).renew([instance])

    assert await seen_after(backend, clock, 35, instance.key)
    assert not await seen_after(backend, clock, 15, instance.key)


async def test_a_packed_instance_that_we_renew_is_not_even_asked_for(
    backend: EurekaBackend, servers: Servers, clock: ManualClock
) -> None:
    instance = servicecenter()
    await backend.put(instance, None)
    servers.calls.clear()
    for _ in range(20):
        await backend.renew([instance])
        await seen_after(backend, clock, 10, instance.key)

    assert not servers.asked("GET one /apps/SHOP.ORDERS/i9")


async def test_after_an_absence_everybody_has_a_fresh_term(
    backend: EurekaBackend, servers: Servers, clock: ManualClock
) -> None:
    """Their owners have renewed with us meanwhile, and nobody could tell the server."""
    instance = servicecenter()
    await backend.put(instance, None)
    await backend.read(is_whole=False)
    clock.advance(600)

    assert await seen_after(backend, clock, 5, instance.key)


async def test_the_leases_of_eurekas_own_are_the_servers_affair(
    backend: EurekaBackend, servers: Servers, clock: ManualClock
) -> None:
    await backend.put(eureka(), None)

    assert await seen_after(backend, clock, 300, eureka().key)


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
