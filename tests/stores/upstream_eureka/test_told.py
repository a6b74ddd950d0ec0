"""What a server tells us as its peer is heard at once; a stranger is not."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.eureka.records import BatchItem, BatchResult
from facade.registry.model import Instance, Status
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
    told,
)

pytestmark = pytest.mark.anyio


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
