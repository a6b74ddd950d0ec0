"""What goes there comes back as it was, its status and override too."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.errors import UpstreamRefused
from facade.eureka.records import BatchItem
from facade.registry import rules
from facade.registry.model import Instance, Space, Status
from facade.stores.upstream_eureka import EurekaBackend
from tests.eureka import registrations
from tests.stores.upstream_eureka.servers import (
    ONE,
    SERVICE,
    Servers,
    assert_same,
    backend_of,
    eureka,
    hear,
    servicecenter,
    shown,
)

pytestmark = pytest.mark.anyio


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
