"""The backend for a ServiceCenter, against our own front in the part of the registry behind: it keeps marks, as the
original does, which was asked all of this by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from conformance.peers.patience import PATIENCE_S
from facade.clock import ManualClock
from facade.errors import StoreUnavailable, UpstreamRefused
from facade.eureka.mapping import with_metadata
from facade.outbound import Outbound
from facade.registry.model import (
    Instance,
    InstanceKey,
    Microservice,
    Origin,
    Record,
    RecordKey,
    Schema,
    SchemaId,
    ServiceKey,
    Space,
    Status,
    Tenant,
)
from facade.registry.rules import Policy, overridden
from facade.servicecenter import mapping
from facade.servicecenter.client import ServiceCenterClient
from facade.servicecenter.records import HealthCheck, MicroService, MicroServiceInstance
from facade.stores.mirror import is_same
from facade.stores.upstream_servicecenter import ServiceCenterBackend
from tests.eureka.registrations import instance
from tests.stores.servicecenter import Server, client_of, opened_server

pytestmark = pytest.mark.anyio

POLICY = Policy()
TENANT = Tenant()
EUREKA = instance("ORDERS", "orders:8080", vipAddress="orders", metadata={"zone": "z1"})
PLACE = (TENANT, EUREKA.service.derived_id)
SERVICE = mapping.to_service(
    MicroService(app_id="shop", service_name="cart", version="1.2.3", properties={"a": "b"}),
    TENANT,
    {"t": "v"},
    1,
    POLICY,
)
NATIVE = mapping.to_instance(
    MicroServiceInstance(endpoints=("rest://10.0.0.2:80", "highway://10.0.0.2:81"), host_name="h"),
    SERVICE,
    "n1",
    POLICY,
)


@pytest.fixture
async def server(clock: ManualClock) -> AsyncIterator[Server]:
    async with opened_server(clock) as server:
        yield server


@pytest.fixture
async def raw(server: Server) -> AsyncIterator[ServiceCenterClient]:
    """Somebody else who uses the registry behind."""
    client = client_of(server)
    yield client
    await client.close()


@pytest.fixture
def held() -> dict[RecordKey, Record]:
    """What we hold ourselves."""
    return {}


@pytest.fixture
def behind(raw: ServiceCenterClient, clock: ManualClock, held: dict[RecordKey, Record]) -> ServiceCenterBackend:
    backend = ServiceCenterBackend(raw, POLICY, clock)
    backend.lookup = held.get
    return backend


async def found(behind: ServiceCenterBackend, key: RecordKey, *, is_whole: bool = False) -> Any:
    return (await behind.read(is_whole=is_whole)).records.get(key)


RECORDS: list[Any] = [
    pytest.param([EUREKA], id="eureka"),
    pytest.param([overridden(EUREKA, Status.OUT_OF_SERVICE)], id="overridden"),
    pytest.param([SERVICE, NATIVE], id="servicecenter"),
    pytest.param([SERVICE], id="service-alone"),
]


@pytest.mark.parametrize("records", RECORDS)
async def test_what_is_put_is_read(behind: ServiceCenterBackend, records: list[Record]) -> None:
    for record in records:
        await behind.put(record, None)
    seen = await behind.read(is_whole=False)

    assert seen.records.keys() == {record.key for record in records}
    assert all(is_same(seen.records[record.key], record) for record in records)
    assert all([await behind.holds(record) for record in records])


@pytest.mark.parametrize("records", RECORDS)
async def test_another_of_ours_reads_the_same(
    behind: ServiceCenterBackend, raw: ServiceCenterClient, clock: ManualClock, records: list[Record]
) -> None:
    for record in records:
        await behind.put(record, None)
    other = await ServiceCenterBackend(raw, POLICY, clock).read(is_whole=True)

    assert other.changed is None
    assert all(is_same(other.records[record.key], record) for record in records)


async def test_a_quiet_reading_changes_nothing(behind: ServiceCenterBackend) -> None:
    await behind.put(EUREKA, None)
    first = await found(behind, EUREKA.key)
    seen = await behind.read(is_whole=False)

    assert not seen.changed
    assert await found(behind, EUREKA.key, is_whole=True) is first


async def test_a_service_that_only_eureka_implies_is_nobody_s_record(behind: ServiceCenterBackend) -> None:
    await behind.put(EUREKA, None)

    assert not any(isinstance(record, Microservice) for record in (await behind.read(is_whole=True)).records.values())


async def test_it_is_one_as_soon_as_an_instance_of_servicecenter_is_in_it(
    behind: ServiceCenterBackend, raw: ServiceCenterClient
) -> None:
    await behind.put(EUREKA, None)
    await raw.register(*PLACE, MicroServiceInstance(instance_id="n2", host_name="h"))
    kinds = [type(record) for record in (await behind.read(is_whole=False)).records.values()]

    assert sorted(kind.__name__ for kind in kinds) == ["Instance", "Instance", "Microservice"]


async def test_servicecenter_itself_and_our_helpers_are_nobody_s_records(
    behind: ServiceCenterBackend, raw: ServiceCenterClient
) -> None:
    helper = MicroService(
        app_id="shop", service_name="registry-facade", properties={"_bridge.origin": "registry-facade"}
    )
    await raw.create_service(TENANT, helper)
    await raw.create_service(TENANT, MicroService(service_name="SERVICECENTER", version="2.2.0"))

    assert not (await behind.read(is_whole=True)).records


CHANGES = [
    pytest.param(with_metadata(EUREKA, {"v": "2"}), id="metadata"),
    pytest.param(overridden(EUREKA, Status.OUT_OF_SERVICE), id="status"),
    pytest.param(overridden(with_metadata(EUREKA, {"v": "2"}), Status.DOWN), id="metadata-and-status"),
    pytest.param(instance("ORDERS", "orders:8080", vipAddress="orders", ipAddr="10.0.0.9"), id="address"),
    pytest.param(instance("ORDERS", "orders:8080", vipAddress="Orders"), id="another-name"),
    pytest.param(with_metadata(EUREKA, {str(number): "v" * 100 for number in range(30)}), id="large-properties"),
]


@pytest.mark.parametrize("knows", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("after", CHANGES)
async def test_a_change_arrives(behind: ServiceCenterBackend, after: Instance, knows: bool) -> None:
    await behind.put(EUREKA, None)
    await behind.read(is_whole=False)
    if not knows and after.service != EUREKA.service:
        await behind.remove(EUREKA)
    await behind.put(after, EUREKA if knows else None)

    assert is_same(await found(behind, EUREKA.key), after)


async def test_what_another_node_has_registered_meanwhile_is_set_right(
    behind: ServiceCenterBackend, raw: ServiceCenterClient, clock: ManualClock
) -> None:
    """A registration of one that is alive there only renews it, and no reading can tell that it is."""
    await behind.read(is_whole=True)
    await ServiceCenterBackend(raw, POLICY, clock).put(with_metadata(EUREKA, {"v": "1"}), None)
    after = with_metadata(EUREKA, {"v": "2"})
    await behind.put(after, None)

    assert is_same(await found(behind, EUREKA.key), after)


async def test_who_is_only_brought_back_does_not_overwrite_who_was_faster(
    behind: ServiceCenterBackend, raw: ServiceCenterClient, clock: ManualClock, held: dict[RecordKey, Record]
) -> None:
    held[EUREKA.key] = EUREKA
    newer = with_metadata(EUREKA, {"v": "2"})
    assert await behind.renew([EUREKA])
    await ServiceCenterBackend(raw, POLICY, clock).put(newer, None)
    await behind.put(EUREKA, None)

    assert is_same(await found(behind, EUREKA.key), newer)


async def test_a_service_that_goes_while_its_instance_changes_is_made_again(
    server: Server, behind: ServiceCenterBackend, raw: ServiceCenterClient
) -> None:
    """To accounts that are no administrators it is the service that is missing."""
    await behind.put(EUREKA, None)
    await behind.read(is_whole=True)
    await raw.delete_service(*PLACE, force=True)
    server.refused[f"{EUREKA.portable_id}/properties"] = "400012"
    after = with_metadata(EUREKA, {"v": "2"})
    await behind.put(after, EUREKA)

    assert is_same(await found(behind, EUREKA.key), after)


async def test_a_service_that_is_gone_is_made_again(behind: ServiceCenterBackend, raw: ServiceCenterClient) -> None:
    await behind.put(EUREKA, None)
    await raw.delete_service(*PLACE, force=True)
    await behind.put(EUREKA, EUREKA)

    assert is_same(await found(behind, EUREKA.key), EUREKA)


async def test_an_instance_brings_the_microservice_that_we_hold(
    behind: ServiceCenterBackend, held: dict[RecordKey, Record]
) -> None:
    held[SERVICE.key] = SERVICE
    await behind.put(NATIVE, None)

    assert is_same(await found(behind, SERVICE.key), SERVICE)


async def test_a_microservice_changes_its_properties_and_tags(behind: ServiceCenterBackend) -> None:
    await behind.put(SERVICE, None)
    after = replace(SERVICE, properties={"c": "d"}, tags={})
    await behind.put(after, SERVICE)

    assert is_same(await found(behind, SERVICE.key), after)


async def test_an_id_that_somebody_else_has_given_is_no_failure_of_ours(
    behind: ServiceCenterBackend, raw: ServiceCenterClient
) -> None:
    await raw.create_service(
        TENANT, MicroService(service_id="own", app_id="shop", service_name="cart", version="1.2.3")
    )

    with pytest.raises(UpstreamRefused) as refused:
        await behind.put(SERVICE, None)
    assert refused.value.code == 400010


async def test_an_application_goes_into_the_service_that_somebody_else_has_made(
    behind: ServiceCenterBackend, raw: ServiceCenterClient
) -> None:
    mine = MicroService(service_id="own", app_id="eureka", service_name="orders", version="0.0.1")
    await raw.create_service(TENANT, mine)
    await behind.put(EUREKA, None)

    assert await raw.find_instance(TENANT, "own", EUREKA.portable_id) is not None
    assert is_same(await found(behind, EUREKA.key), EUREKA)
    assert not await behind.renew([EUREKA])


async def test_schemas(behind: ServiceCenterBackend, raw: ServiceCenterClient) -> None:
    await behind.put(SERVICE, None)
    mine = Schema(key=SchemaId(SERVICE.key, "mine"), text="openapi: 3", summary="abc")
    await behind.put(mine, None)
    await raw.put_schema(TENANT, SERVICE.key.service_id, "theirs", "openapi: 2")
    theirs = Schema(key=SchemaId(SERVICE.key, "theirs"), text="openapi: 2")
    seen = await behind.read(is_whole=True)

    assert (seen.records.get(mine.key), seen.records.get(theirs.key)) == (mine, theirs)
    await behind.remove(mine)
    assert mine.key not in (await behind.read(is_whole=True)).records


async def test_what_is_removed_is_gone_and_may_be_gone_already(behind: ServiceCenterBackend) -> None:
    for record in (SERVICE, NATIVE, EUREKA):
        await behind.put(record, None)
    await behind.read(is_whole=True)
    for record in (NATIVE, SERVICE, EUREKA, NATIVE, SERVICE, EUREKA):
        await behind.remove(record)
    seen = await behind.read(is_whole=False)

    assert not seen.records
    assert seen.changed == {SERVICE.key, NATIVE.key, EUREKA.key}
    assert not any([await behind.holds(record) for record in (SERVICE, NATIVE, EUREKA)])


async def test_renewals_tell_who_is_unknown(behind: ServiceCenterBackend) -> None:
    await behind.put(EUREKA, None)
    stranger = instance("ORDERS", "stranger")

    unknown = await behind.renew([EUREKA, stranger, NATIVE])

    assert {one.key for one in unknown} == {stranger.key, NATIVE.key}


async def test_what_an_operator_says_there_is_heard(behind: ServiceCenterBackend, raw: ServiceCenterClient) -> None:
    await behind.put(EUREKA, None)
    await raw.set_status(*PLACE, EUREKA.portable_id, "OUTOFSERVICE")

    assert is_same(await found(behind, EUREKA.key), overridden(EUREKA, Status.OUT_OF_SERVICE))


async def test_lost_marks_are_made_up_for_by_the_id(
    behind: ServiceCenterBackend, raw: ServiceCenterClient, held: dict[RecordKey, Record]
) -> None:
    held[EUREKA.key] = EUREKA
    await behind.put(EUREKA, None)
    await raw.set_properties(*PLACE, EUREKA.portable_id, {"only": "this"})
    seen = await behind.read(is_whole=False)

    assert seen.records.keys() == {EUREKA.key}
    assert replace(seen.records[EUREKA.key], metadata=EUREKA.metadata, updated_ms=0, registered_ms=0) == replace(
        EUREKA, source_address=""
    )


async def test_what_does_not_fit_is_read_as_it_is_kept(behind: ServiceCenterBackend) -> None:
    large = with_metadata(EUREKA, {str(number): f"{number * 7919}" * 30 for number in range(60)})
    await behind.put(large, None)
    kept = await found(behind, EUREKA.key)

    assert is_same(kept, behind.as_kept(large))
    assert len(kept.metadata) < len(large.metadata)
    assert behind.truncated == 1


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(EUREKA, id="eureka"),
        pytest.param(replace(NATIVE, override=Status.DOWN, status=Status.DOWN), id="overridden-native"),
        pytest.param(
            replace(NATIVE, native=b'{"healthCheck":{"mode":"push","interval":1,"times":1}}'), id="short-lease"
        ),
    ],
)
async def test_as_kept_tells_what_a_reading_would(behind: ServiceCenterBackend, record: Instance) -> None:
    await behind.put(SERVICE, None)
    await behind.put(record, None)

    assert is_same(await found(behind, record.key), behind.as_kept(record))


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(replace(EUREKA, service=EUREKA.service._replace(environment="odd")), id="environment"),
        pytest.param(replace(EUREKA, host=" "), id="host"),
        pytest.param(replace(SERVICE, alias="a@b"), id="alias"),
        pytest.param(replace(SERVICE, tags={"1": ""}), id="tags"),
        pytest.param(replace(SERVICE, properties={"a": "b" * (3 << 19)}), id="service-too-large"),
        pytest.param(Schema(key=SchemaId(SERVICE.key, "api"), text="s" * (3 << 19)), id="schema-too-large"),
    ],
)
async def test_what_would_be_refused_there_is_not_sent(behind: ServiceCenterBackend, record: Record) -> None:
    with pytest.raises(UpstreamRefused):
        await behind.put(record, None)
    assert not (await behind.read(is_whole=True)).records


async def test_other_tenants_are_read_once_they_are_named(
    behind: ServiceCenterBackend, raw: ServiceCenterClient, clock: ManualClock
) -> None:
    space = Space("d", "p")
    record = replace(
        EUREKA,
        key=InstanceKey(Origin.EUREKA, space, "ORDERS", "orders:8080"),
        service=ServiceKey("d", "p", "", "eureka", "orders", "0.0.1"),
    )
    await behind.put(record, None)
    restarted = ServiceCenterBackend(raw, POLICY, clock)
    restarted.expect([record.key])

    assert is_same(await found(behind, record.key), record)
    assert is_same(await found(restarted, record.key), record)


async def test_a_record_that_makes_no_sense_is_left_out(behind: ServiceCenterBackend, raw: ServiceCenterClient) -> None:
    await behind.put(SERVICE, None)
    forged = {"_bridge.origin": "eureka", "_bridge.id": "f1", "_eureka.app": "A", "_eureka.instanceId": "i"}
    document = MicroServiceInstance(
        instance_id="f1",
        host_name="h",
        properties={**forged, "_eureka.status": "ODD", "_eureka.doc": "?"},
        health_check=HealthCheck(mode="pull", interval=1, times=1),
    )
    await raw.register(TENANT, SERVICE.key.service_id, document)
    await behind.put(NATIVE, None)

    assert is_same(await found(behind, NATIVE.key), NATIVE)


async def test_the_version_is_asked_for(behind: ServiceCenterBackend) -> None:
    await behind.read(is_whole=True)

    assert behind.version is not None
    assert behind.version.version == "2.2.0"
    assert behind.title == "ServiceCenter 2.2.0 at http://behind.test"


async def test_an_unreachable_server_is_not_an_empty_one(clock: ManualClock) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    outbound = Outbound(["http://behind.test"], transport=httpx.MockTransport(refuse))
    behind = ServiceCenterBackend(ServiceCenterClient(outbound), POLICY, clock)

    for call in (behind.read(is_whole=True), behind.renew([EUREKA]), behind.put(EUREKA, None), behind.holds(EUREKA)):
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(call, PATIENCE_S)
    assert "connection refused" in outbound.trouble


@pytest.mark.parametrize("service_id", ["\x01", "a/b", ".."])
async def test_ids_at_which_the_server_falls_over_are_not_sent(behind: ServiceCenterBackend, service_id: str) -> None:
    """A real ServiceCenter answers 500 to a control character in a key, whoever asks next."""
    odd = replace(SERVICE, key=SERVICE.key._replace(service_id=service_id))

    with pytest.raises(UpstreamRefused):
        behind.as_kept(odd)
    with pytest.raises(UpstreamRefused):
        await behind.put(odd, None)


async def test_a_long_name_goes_without_an_alias(behind: ServiceCenterBackend, raw: ServiceCenterClient) -> None:
    """`eureka:` before a name of 128 letters is too long for an alias; the name itself is not."""
    name = "n" * 128
    long = replace(EUREKA, application=name.upper(), service=EUREKA.service._replace(name=name))
    await behind.put(long, None)

    assert await raw.find_instance(TENANT, long.service.derived_id, long.portable_id) is not None
