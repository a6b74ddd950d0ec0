"""Readings: what is asked for, what nobody can make sense of, and whose lease has ended."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.errors import StoreUnavailable
from facade.eureka.records import BatchResult, InstanceInfo
from facade.eureka.routes import EurekaOptions
from facade.registry.model import Record, RecordKey
from facade.registry.registry import Registry
from facade.stores.packed_in_eureka import pack
from facade.stores.upstream_eureka import EurekaBackend
from tests.eureka import registrations
from tests.stores.upstream_eureka.servers import (
    HELD,
    ONE,
    SERVICE,
    Servers,
    assert_same,
    backend_of,
    eureka,
    hear,
    send_batch,
    servicecenter,
    shown,
    told,
)

pytestmark = pytest.mark.anyio


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
