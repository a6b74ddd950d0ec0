"""Writes go straight through, and readings bring what was written there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.errors import UpstreamRefused
from facade.registry.model import Cause, Instance, InstanceKey, Origin, Space
from facade.registry.store import Put, Remove
from facade.stores.memory import MemoryStore
from facade.stores.mirror import Mirror
from facade.stores.upstream import UpstreamStore
from tests.stores.behind import Behind
from tests.stores.examples import ONE_OF_EACH, SHOP, instance
from tests.stores.upstream.kept import Kept, fill, several

pytestmark = pytest.mark.anyio


# Straight through


async def test_a_write_is_there_before_it_is_shown_here(kept: Kept) -> None:
    await kept.store.write([Put(instance("i1"))])

    assert instance("i1").key in kept.behind.records
    assert kept.shown == {"i1"}


async def test_what_is_registered_there_is_shown_after_the_next_reading(kept: Kept) -> None:
    fill(kept.behind, instance("i1"))
    await kept.read()

    assert [write for commit in kept.heard for write in commit.writes] == [Put(instance("i1"), Cause.REGISTERED)]


async def test_what_is_gone_there_is_gone_after_the_next_reading(kept: Kept) -> None:
    fill(kept.behind, instance("i1"), instance("i2"))
    await kept.read()
    del kept.behind.records[instance("i1").key]
    await kept.read()

    assert kept.shown == {"i2"}


async def test_records_of_kinds_that_have_no_place_there_are_kept_here(kept: Kept) -> None:
    await kept.store.write([Put(record) for record in ONE_OF_EACH])
    await kept.read()

    assert kept.mirror._held == {record.key: record for record in ONE_OF_EACH}
    assert {type(record).__name__ for record in kept.behind.records.values()} == {"Instance", "Microservice", "Schema"}


async def test_what_does_not_fit_there_is_not_lost_here(kept: Kept) -> None:
    """The registry behind keeps no source address; ours must not be wiped by what comes back."""
    await kept.store.write([Put(instance("i1", source_address="10.0.0.7"))])
    kept.heard.clear()
    await kept.read()

    assert kept.heard == []
    assert kept.mirror._held[instance("i1").key] == instance("i1", source_address="10.0.0.7")


async def test_a_quiet_reading_makes_no_revision(kept: Kept) -> None:
    fill(kept.behind, *several(3))
    await kept.read()
    kept.heard.clear()
    await kept.read()

    assert kept.heard == []


async def test_a_reading_that_is_behind_does_not_undo_a_write(kept: Kept) -> None:
    """Readings of both originals show the past for a while: 0.3 s to 30 s."""
    kept.behind.shown = {}
    await kept.store.write([Put(instance("i1"))])
    await kept.read(after_s=1)
    assert kept.shown == {"i1"}

    kept.behind.shown = None
    await kept.read(after_s=10)
    assert kept.shown == {"i1"}


async def test_what_was_ended_here_does_not_come_back_from_a_cache(kept: Kept) -> None:
    """ServiceCenter shows deleted instances for 2.3 s, and for minutes in its self-protection."""
    await kept.store.write([Put(instance("i1"))])
    kept.behind.shown = dict(kept.behind.records)
    await kept.store.write([Remove(instance("i1").key)])
    await kept.read(after_s=60)

    assert kept.shown == set()
    assert "holds" in kept.behind.calls


async def test_what_was_ended_here_and_registered_there_again_is_shown(kept: Kept) -> None:
    await kept.store.write([Put(instance("i1"))])
    await kept.store.write([Remove(instance("i1").key)])
    fill(kept.behind, instance("i1"))
    await kept.read(after_s=60)

    assert kept.shown == {"i1"}


# Parked


async def test_changed_keys_alone_are_compared_where_the_backend_tells_them(kept: Kept) -> None:
    fill(kept.behind, *several(3))
    await kept.read()
    kept.behind.changed = {instance("i0").key}
    fill(kept.behind, instance("i0", host="new.example"), instance("i1", host="new.example"))
    await kept.read(after_s=1)

    hosts = {one.key.instance_id: one.host for one in kept.mirror._held.values() if isinstance(one, Instance)}
    assert hosts == {"i0": "new.example", "i1": "orders.example", "i2": "orders.example"}


async def test_a_key_that_could_not_be_judged_is_looked_at_again(kept: Kept) -> None:
    fill(kept.behind, *several(2))
    await kept.read()
    await kept.store.write([Put(instance("i0", host="new.example"))])
    fill(kept.behind, instance("i0", host="newer.example"))
    kept.behind.changed = {instance("i0").key}
    await kept.read(after_s=1)
    kept.behind.changed = set()
    await kept.read(after_s=10)

    newer = kept.mirror._held[instance("i0").key]
    assert isinstance(newer, Instance) and newer.host == "newer.example"


async def test_what_we_wrote_and_somebody_ended_before_any_reading_showed_it_is_gone(kept: Kept) -> None:
    """Another node of ours, say: then no reading tells that it has changed."""
    await kept.read()
    await kept.store.write([Put(instance("i0"))])
    del kept.behind.records[instance("i0").key]
    kept.behind.changed = set()
    await kept.read(after_s=1)
    await kept.read(after_s=10)

    assert kept.shown == set()


async def test_what_we_wrote_is_not_gone_because_it_is_shown_late(kept: Kept) -> None:
    """Later than such a registry promises: it is asked live."""
    await kept.read()
    kept.behind.shown = {}
    await kept.store.write([Put(instance("i0"))])
    kept.behind.changed = set()
    await kept.read(after_s=10)
    assert kept.shown == {"i0"}

    kept.behind.records.clear()
    await kept.read(after_s=1)
    assert kept.shown == set()


async def test_a_refusal_in_the_owners_own_protocol_is_the_owners_answer(kept: Kept) -> None:
    kept.behind.room = 100
    key = InstanceKey(Origin.SERVICECENTER, Space(), "s1", "i1")

    with pytest.raises(UpstreamRefused, match="too large"):
        await kept.store.write([Put(instance("i1", key=key, metadata={"k": "v" * 200}))])
    assert kept.shown == set()


# Two registries


async def test_of_two_registries_each_gets_what_came_by_its_protocol(clock: ManualClock) -> None:
    one, other = Behind(), Behind()
    one.origin = Origin.EUREKA

    def belongs(origin: Origin) -> Callable[[object], bool]:
        return lambda key: isinstance(key, InstanceKey) and key.origin is origin

    mirrors = [
        Mirror(one, clock, concerns=belongs(Origin.EUREKA)),
        Mirror(other, clock, concerns=belongs(Origin.SERVICECENTER)),
    ]
    store = UpstreamStore(MemoryStore(clock), mirrors)
    await store.open(lambda _: None)
    native = instance("i1")
    foreign = instance("i2", key=InstanceKey(Origin.SERVICECENTER, Space(), "s1", "i2"), service=SHOP)
    await store.write([Put(native), Put(foreign)])
    fill(other, replace(native, portable_id="copy"))
    clock.advance(10)
    await mirrors[1].refresh()
    await store.close()

    assert (set(one.records), set(other.records) - {native.key}) == ({native.key}, {foreign.key})
    assert set(mirrors[1].copies) == {native.key}
    assert mirrors[1]._held[native.key] == native
