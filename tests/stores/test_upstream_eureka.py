"""The Backend over Eureka, against fronts of our own in process: they are the servers behind us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.errors import StoreUnavailable, UpstreamRefused
from facade.eureka.client import EurekaClient
from facade.eureka.records import BatchItem, InstanceInfo
from facade.eureka.routes import EurekaFront, EurekaOptions
from facade.outbound import Outbound
from facade.registry import rules
from facade.registry.model import Instance, InstanceKey, Origin, Record, RecordKey, Space, Status, Tenant
from facade.registry.registry import Registry
from facade.registry.rules import Policy, is_same_but_for_time
from facade.servicecenter import mapping
from facade.servicecenter.records import HealthCheck, MicroService, MicroServiceInstance
from facade.stores.memory import MemoryStore
from facade.stores.upstream_eureka import EurekaBackend
from tests.eureka import registrations

pytestmark = pytest.mark.anyio

ONE, TWO = "http://one:8761/eureka", "http://two:8761/eureka"
POLICY = Policy(self_preservation=False)


class Servers(httpx.AsyncBaseTransport):
    """Eureka servers by host name. They do not know each other, so a test sees what each of them is told."""

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
        host, path = request.url.host, request.url.path
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
    return EurekaBackend(EurekaClient(outbound), POLICY, clock, is_one_of_us=is_called_us, **options)


async def is_called_us(url: str) -> bool:
    return url.startswith("http://us:")


@pytest.fixture
async def backend(servers: Servers, clock: ManualClock) -> AsyncIterator[EurekaBackend]:
    """Over one server, read once."""
    backend = backend_of(servers, clock, ONE)
    await backend.read(is_whole=True)
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
    backend.hear(hear_of_it)

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
    assert "connection refused" in backend.trouble


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
        pytest.param("http://one:8761/eureka/", id="itself"),
    ],
)
async def test_a_server_that_names_itself_or_us_has_no_peers(
    servers: Servers, clock: ManualClock, replicas: str
) -> None:
    servers.replicas["one"] = replicas
    backend = backend_of(servers, clock, ONE)

    await backend.renew([eureka()])

    assert servers.asked("batch")


# What a server tells us as its peer

HELD = registrations.PLAIN


def told(action: str, info: InstanceInfo | None = None, **fields: Any) -> BatchItem:
    fields = {"app_name": "A", "instance_id": "i1", "last_dirty_ms": 1000, "status": Status.UP} | fields
    return BatchItem(action=action, instance_info=info, **fields)


async def test_what_a_server_tells_is_in_the_next_reading_without_asking(
    backend: EurekaBackend, servers: Servers, clock: ManualClock
) -> None:
    servers.calls.clear()

    assert backend.hear(told("Register", registrations.PLAIN)).status == 200
    seen = await backend.read(is_whole=False)

    assert seen.changed == {eureka().key}
    assert servers.calls == []
    assert_same(seen.records[eureka().key], eureka())


async def test_a_server_that_tells_us_is_still_looked_at_now_and_then(
    backend: EurekaBackend, servers: Servers, clock: ManualClock
) -> None:
    backend.hear(told("Heartbeat"))
    servers.calls.clear()

    for _ in range(11):
        await backend.read(is_whole=False)
        clock.advance(1)

    assert len(servers.asked("GET one /apps/delta")) == 2


async def test_a_change_that_is_told_is_hinted(backend: EurekaBackend) -> None:
    hints: list[str] = []
    listening = asyncio.create_task(backend.watch(lambda: hints.append("hint")))
    await asyncio.sleep(0)

    backend.hear(told("Register", HELD))
    backend.hear(told("Heartbeat"))
    listening.cancel()

    assert hints == ["hint"]


async def test_a_list_that_is_older_does_not_undo_what_was_told(backend: EurekaBackend, clock: ManualClock) -> None:
    await backend.client.register(HELD)
    changed = replace(HELD, host_name="later", last_dirty_ms=2000, last_updated_ms=clock.now_ms() + 1)
    backend.hear(told("Register", changed))
    backend.hear(told("Register", replace(HELD, instance_id="i2"), instance_id="i2"))

    seen = await backend.read(is_whole=True)

    assert sorted(record.host for record in seen.records.values() if isinstance(record, Instance)) == ["h1", "later"]


async def test_a_list_that_is_newer_does(backend: EurekaBackend, clock: ManualClock) -> None:
    backend.hear(told("Register", replace(HELD, last_updated_ms=clock.now_ms() - 1)))
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

    result = backend.hear(event)

    record = (await backend.read(is_whole=False)).records.get(eureka().key)
    assert result.status == answer
    assert (record.status if isinstance(record, Instance) else None) is status
    assert (result.entity is not None) == (answer == 409)


async def test_an_override_that_is_told_holds_until_it_is_lifted(backend: EurekaBackend) -> None:
    backend.hear(told("Register", HELD))
    backend.hear(told("StatusUpdate", status=Status.OUT_OF_SERVICE))
    backend.hear(told("Register", HELD))
    held = (await backend.read(is_whole=False)).records[eureka().key]
    backend.hear(told("DeleteStatusOverride", status=Status.UP))
    lifted = (await backend.read(is_whole=False)).records[eureka().key]

    assert isinstance(held, Instance) and isinstance(lifted, Instance)
    assert (held.status, held.override) == (Status.OUT_OF_SERVICE, Status.OUT_OF_SERVICE)
    assert (lifted.status, lifted.override) == (Status.UP, None)


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
