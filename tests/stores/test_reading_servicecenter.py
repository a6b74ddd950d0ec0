"""Reading a ServiceCenter: whatever one record, one tenant or one account does, the rest is read."""

from __future__ import annotations

import logging
import zlib
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.errors import StoreUnavailable, UpstreamRefused
from facade.eureka.mapping import with_metadata
from facade.registry.model import Instance, Microservice, Record, RecordKey, Schema, SchemaId, ServiceId, Space, Tenant
from facade.registry.rules import Policy
from facade.servicecenter import mapping
from facade.servicecenter.client import ServiceCenterClient
from facade.servicecenter.records import MicroService, MicroServiceInstance
from facade.stores import tenants_servicecenter as tenants
from facade.stores.packed_in_servicecenter import pack
from facade.stores.reading_servicecenter import Reading
from facade.stores.upstream_servicecenter import ServiceCenterBackend
from tests.eureka.registrations import instance
from tests.stores.servicecenter import Server, client_of, opened_server

pytestmark = pytest.mark.anyio

POLICY = Policy()
EUREKA = instance("ORDERS", "orders:8080", vipAddress="orders")
OTHER = Tenant("d", "p")


def in_tenant(tenant: Tenant, one: Instance = EUREKA) -> Instance:
    key = one.key._replace(space=Space(*tenant))
    return replace(one, key=key, service=one.service._replace(domain=tenant.domain, project=tenant.project))


@pytest.fixture
async def server(clock: ManualClock) -> AsyncIterator[Server]:
    async with opened_server(clock) as server:
        yield server


@pytest.fixture
async def raw(server: Server) -> AsyncIterator[ServiceCenterClient]:
    client = client_of(server)
    yield client
    await client.close()


@pytest.fixture
def held() -> dict[RecordKey, Record]:
    return {}


@pytest.fixture
def behind(raw: ServiceCenterClient, clock: ManualClock, held: dict[RecordKey, Record]) -> ServiceCenterBackend:
    backend = ServiceCenterBackend(raw, POLICY, clock)
    backend.lookup = held.get
    return backend


async def keys(behind: ServiceCenterBackend, *, is_whole: bool = True) -> set[RecordKey]:
    return set((await behind.read(is_whole=is_whole)).records)


# Records


def forged(rest: bytes) -> MicroServiceInstance:
    one = instance("ORDERS", "forged", vipAddress="orders")
    doc = urlsafe_b64encode(zlib.compress(rest, 9)).decode()
    return replace(pack(one), properties={**pack(one).properties, "_eureka.doc": doc})


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b'{"x":' + b"[" * 5_000, id="nested"),
        pytest.param(b'{"last_dirty_ms":%d}' % 2**70, id="dirty-time"),
        pytest.param(b'{"lease_info":{"duration_s":%d}}' % 2**70, id="lease"),
    ],
)
async def test_a_forged_document_is_read_from_its_plain_fields(
    behind: ServiceCenterBackend, raw: ServiceCenterClient, rest: bytes
) -> None:
    await behind.put(EUREKA, None)
    await raw.register(Tenant(), EUREKA.service.derived_id, forged(rest))
    seen = await behind.read(is_whole=True)
    found = {one.key.instance_id: one for one in seen.records.values() if isinstance(one, Instance)}

    assert found.keys() == {"orders:8080", "forged"}
    assert max(*found["forged"].lease, found["forged"].dirty_ms) < 2**63


async def test_a_record_that_trips_us_is_left_out_and_told_of_once(
    raw: ServiceCenterClient, caplog: pytest.LogCaptureFixture
) -> None:
    """No such record is known, so the fault is made: a policy by which ServiceCenter's own cannot be mapped."""
    records: dict[RecordKey, Record] = {}
    reading = Reading(raw, Tenant(), Policy(plain_apps=None), records)  # type: ignore[arg-type]  # the fault
    service_id = await raw.create_service(Tenant(), MicroService(app_id="shop", service_name="cart", version="1"))
    await raw.register(Tenant(), service_id, MicroServiceInstance(instance_id="n1", host_name="h"))
    await raw.register(Tenant(), service_id, pack(EUREKA))
    for _ in range(2):
        await reading.refresh(records.get, is_whole=True)

    assert EUREKA.key in records
    told = [one.getMessage() for one in caplog.records if f"{service_id}/n1" in one.getMessage()]
    assert len(told) == 1
    assert "TypeError" in told[0]


async def test_what_was_told_is_remembered_within_bounds(raw: ServiceCenterClient) -> None:
    reading = Reading(raw, Tenant(), POLICY, {})
    for number in range(3_000):
        reading._tell_once(str(number), "odd")

    assert len(reading._told) == 1_000


async def test_who_is_cut_is_told_of_once(behind: ServiceCenterBackend, caplog: pytest.LogCaptureFixture) -> None:
    large = with_metadata(EUREKA, {str(number): f"{number * 7919}" * 30 for number in range(60)})
    await behind.put(large, None)
    for _ in range(2):
        await behind.read(is_whole=True)
    told = [one for one in caplog.records if EUREKA.portable_id in one.getMessage()]

    assert [(one.levelno, "5120 bytes" in one.getMessage()) for one in told] == [(logging.WARNING, True)]


async def test_what_is_gone_is_forgotten(behind: ServiceCenterBackend) -> None:
    for number in range(3):
        await behind.put(instance("ORDERS", f"i{number}", vipAddress="orders"), None)
    await behind.read(is_whole=True)
    for number in range(3):
        await behind.remove(instance("ORDERS", f"i{number}", vipAddress="orders"))
    await behind.read(is_whole=False)
    await behind.read(is_whole=True)

    assert not behind._tenants.of(Tenant())._packed


# Accounts


async def test_who_may_see_no_schemas_sees_the_rest(
    behind: ServiceCenterBackend, raw: ServiceCenterClient, server: Server
) -> None:
    cart = MicroService(app_id="shop", service_name="cart", version="1", schemas=("api",))
    service_id = await raw.create_service(Tenant(), cart)
    server.refused["/schemas"] = "403205"

    assert await keys(behind) == {ServiceId(Tenant(), service_id)}
    server.calls.clear()
    assert await keys(behind) == {ServiceId(Tenant(), service_id)}
    assert not [call for call in server.calls if "schemas" in call]


async def test_who_may_not_govern_asks_for_tags_one_by_one(
    behind: ServiceCenterBackend, raw: ServiceCenterClient, server: Server
) -> None:
    service_id = await raw.create_service(
        Tenant(), MicroService(app_id="shop", service_name="cart", version="1"), {"a": "b"}
    )
    server.refused["/govern/microservices"] = "403205"
    record = (await behind.read(is_whole=True)).records[ServiceId(Tenant(), service_id)]

    assert isinstance(record, Microservice)
    assert record.tags == {"a": "b"}


async def test_who_may_see_no_tags_sees_the_rest(
    behind: ServiceCenterBackend, raw: ServiceCenterClient, server: Server
) -> None:
    service_id = await raw.create_service(
        Tenant(), MicroService(app_id="shop", service_name="cart", version="1"), {"a": "b"}
    )
    server.refused |= {"/govern/microservices": "403205", "/tags": "403205"}
    record = (await behind.read(is_whole=True)).records[ServiceId(Tenant(), service_id)]

    assert isinstance(record, Microservice)
    assert record.tags == {}


async def test_an_account_that_may_see_nothing_is_no_empty_server(behind: ServiceCenterBackend, server: Server) -> None:
    server.refused["/microservices"] = "403205"

    with pytest.raises(StoreUnavailable, match="403205"):
        await behind.read(is_whole=True)


# Tenants


@pytest.mark.parametrize("tenant", [Tenant("dömain", "p"), Tenant("d", ".."), Tenant("d", "a/b"), Tenant(" d", "p")])
async def test_a_tenant_that_cannot_be_named_spoils_nothing(behind: ServiceCenterBackend, tenant: Tenant) -> None:
    await behind.put(EUREKA, None)
    odd = in_tenant(tenant)
    with pytest.raises(UpstreamRefused):
        await behind.put(odd, None)
    with pytest.raises(UpstreamRefused):
        behind.as_kept(odd)
    behind.expect([odd.key])

    assert await behind.renew([EUREKA, odd]) == [odd]
    assert await keys(behind) == {EUREKA.key}


async def test_a_tenant_is_read_only_once_something_was_taken_there(
    behind: ServiceCenterBackend, server: Server
) -> None:
    odd = in_tenant(OTHER, replace(EUREKA, host=" "))
    with pytest.raises(UpstreamRefused):
        await behind.put(odd, None)
    await behind.renew([odd])
    await behind.remove(odd)
    await behind.holds(odd)
    server.calls.clear()
    await behind.read(is_whole=True)

    assert not [call for call in server.calls if " d " in call]
    await behind.put(in_tenant(OTHER), None)
    assert await keys(behind, is_whole=False) == {in_tenant(OTHER).key}


async def test_a_tenant_without_records_is_left_after_a_while(
    behind: ServiceCenterBackend, server: Server, clock: ManualClock
) -> None:
    for one in (EUREKA, in_tenant(OTHER), in_tenant(Tenant("e", "p"))):
        await behind.put(one, None)
    await behind.read(is_whole=True)
    await behind.remove(in_tenant(OTHER))
    await behind.remove(EUREKA)
    clock.advance(tenants.EMPTY_FOR_S + 1)
    await behind.renew([in_tenant(Tenant("e", "p"))])
    await behind.put(in_tenant(Tenant("e", "p")), None)
    for _ in range(2):
        server.calls.clear()
        await behind.read(is_whole=False)

    assert {call.split()[1] for call in server.calls} == {"default", "e"}


async def test_what_is_refused_of_one_tenant_leaves_its_records_and_the_others(
    behind: ServiceCenterBackend, server: Server
) -> None:
    await behind.put(in_tenant(OTHER), None)
    await behind.read(is_whole=True)
    server.refused["d"] = "400001"
    await behind.put(EUREKA, None)

    assert await keys(behind) == {EUREKA.key, in_tenant(OTHER).key}


async def test_one_that_was_never_read_is_shown_as_it_is_held(
    behind: ServiceCenterBackend, server: Server, held: dict[RecordKey, Record]
) -> None:
    one = in_tenant(OTHER)
    held[one.key] = one
    await behind.put(one, None)
    behind.expect(held)
    server.refused["d"] = "400001"

    assert await keys(behind) == {one.key}
    del server.refused["d"]
    await behind.remove(one)
    assert await keys(behind) == set()


async def test_there_are_only_so_many_tenants(behind: ServiceCenterBackend, clock: ManualClock) -> None:
    behind.expect(in_tenant(Tenant(f"d{number}", "p")).key for number in range(2 * tenants.MOST_TENANTS))
    with pytest.raises(UpstreamRefused, match="tenants"):
        await behind.put(in_tenant(OTHER), None)
    await behind.put(EUREKA, None)


async def test_schemas_of_another_tenant_name_it(behind: ServiceCenterBackend, raw: ServiceCenterClient) -> None:
    cart = mapping.to_service(MicroService(app_id="shop", service_name="cart", version="1"), OTHER, {}, 1, POLICY)
    await behind.put(cart, None)
    api = Schema(key=SchemaId(cart.key, "api"), text="openapi: 3")
    await behind.put(api, None)

    assert await keys(behind) == {cart.key, api.key}
