"""What is carried to a registry behind us, what is read back, and what of that is believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.errors import StoreFull, StoreUnavailable, UpstreamRefused
from facade.registry.model import Cause, Instance, InstanceKey, Origin, Record, Space
from facade.registry.store import Commit, Put, Remove
from facade.stores import outward
from facade.stores.memory import MemoryStore
from facade.stores.mirror import DOUBTED_FOR_S, Mirror
from facade.stores.upstream import UpstreamStore
from tests.stores.behind import Behind
from tests.stores.examples import ONE_OF_EACH, SHOP, instance

pytestmark = pytest.mark.anyio


class Kept:
    """A store over one registry, opened; its loops do not run, tests do what they would do."""

    def __init__(self, clock: ManualClock, *, is_strict: bool = False) -> None:
        self.clock = clock
        self.behind = Behind()
        self.local = MemoryStore(clock)
        self.mirror = Mirror(self.behind, clock, is_strict=is_strict)
        self.store = UpstreamStore(self.local, [self.mirror])
        self.heard: list[Commit] = []

    async def open(self) -> list[Record]:
        snapshot = await self.store.open(self.heard.append)
        for task in self.store._tasks:
            task.cancel()
        return list(snapshot.records)

    async def read(self, after_s: float = 10.0) -> None:
        """A reading that is past all caches."""
        self.clock.advance(after_s)
        await self.mirror.refresh()

    @property
    def shown(self) -> set[str]:
        return {key.instance_id for key in self.mirror._held if isinstance(key, InstanceKey)}


@pytest.fixture
async def kept(clock: ManualClock) -> AsyncIterator[Kept]:
    made = Kept(clock)
    await made.open()
    yield made
    await made.store.close()


def several(count: int) -> list[Instance]:
    return [instance(f"i{number}") for number in range(count)]


def fill(behind: Behind, *records: Record) -> None:
    behind.records |= {record.key: record for record in records}


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


# Away


async def test_while_nobody_answers_there_all_stays_and_says_how_old_it_is(kept: Kept) -> None:
    fill(kept.behind, *several(3))
    await kept.read()
    kept.behind.fail()
    for _ in range(60):
        await kept.read(after_s=10)

    assert kept.shown == {"i0", "i1", "i2"}
    health = kept.store.health()
    assert not health.is_writable
    assert kept.store.data_age_s == 600
    assert "connection refused" in health.text


async def test_a_write_waits_while_nobody_answers_and_is_shown_at_once(kept: Kept) -> None:
    kept.behind.fail()
    await kept.store.write([Put(instance("i1"))])
    assert kept.shown == {"i1"}
    assert kept.behind.records == {}

    kept.behind.mend()
    await kept.read()
    assert set(kept.behind.records) == {instance("i1").key}
    assert kept.store.health().is_writable


async def test_of_writes_that_wait_the_last_state_of_a_record_wins(kept: Kept) -> None:
    kept.behind.fail()
    for number in range(5):
        await kept.store.write([Put(instance("i1", metadata={"n": str(number)}))])
    await kept.store.write([Put(instance("i2"))])
    await kept.store.write([Remove(instance("i2").key)])
    kept.behind.mend()
    kept.behind.calls.clear()
    await kept.read()

    assert kept.behind.records == {instance("i1").key: instance("i1", metadata={"n": "4"})}
    assert kept.behind.calls.count("put") == 1


async def test_no_more_writes_wait_than_the_limit(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outward, "OUTBOX_LIMIT", 2)
    kept.behind.fail()
    for name in ("i1", "i2", "i1"):
        await kept.store.write([Put(instance(name))])

    with pytest.raises(StoreUnavailable, match="2 writes wait"):
        await kept.store.write([Put(instance("i3"))])
    assert kept.shown == {"i1", "i2"}


async def test_a_strict_store_refuses_writes_while_nobody_answers(clock: ManualClock) -> None:
    kept = Kept(clock, is_strict=True)
    await kept.open()
    kept.behind.fail()

    with pytest.raises(StoreUnavailable):
        await kept.store.write([Put(instance("i1"))])
    assert kept.shown == set()


async def test_renewals_are_known_while_nobody_answers(kept: Kept) -> None:
    await kept.store.write([Put(instance("i1"))])
    kept.behind.fail()

    assert await kept.store.renew({instance("i1").key: 90_000, instance("i2").key: 90_000}) == [instance("i2").key]


async def test_who_is_alive_here_is_registered_again_when_it_comes_back_empty(kept: Kept) -> None:
    await kept.store.write([Put(record) for record in several(3)])
    kept.behind.fail()
    await kept.read()
    await kept.store.renew({instance("i0").key: 90_000, instance("i1").key: 90_000})
    kept.clock.advance(85)
    kept.behind.records.clear()
    kept.behind.mend()
    await kept.read(after_s=0)

    assert {key.instance_id for key in kept.behind.records if isinstance(key, InstanceKey)} == {"i0", "i1"}


async def test_who_left_while_it_was_away_is_gone_when_it_is_back(kept: Kept) -> None:
    fill(kept.behind, *several(3))
    await kept.read()
    kept.behind.fail()
    await kept.read()
    del kept.behind.records[instance("i1").key]
    kept.behind.mend()
    await kept.read()

    assert kept.shown == {"i0", "i2"}


async def test_a_cancellation_that_waited_is_carried_out(kept: Kept) -> None:
    await kept.store.write([Put(instance("i1")), Put(instance("i2"))])
    kept.behind.fail()
    await kept.store.write([Remove(instance("i1").key)])
    kept.behind.mend()
    await kept.read()

    assert set(kept.behind.records) == {instance("i2").key}
    assert kept.shown == {"i2"}


async def test_a_start_while_nobody_answers_shows_what_was_saved(clock: ManualClock) -> None:
    kept = Kept(clock)
    fill(kept.behind, *several(2))
    await kept.open()
    await kept.store.close()
    kept.behind.fail()
    again = UpstreamStore(kept.local, [Mirror(kept.behind, clock)])
    snapshot = await again.open(lambda _: None)
    await again.close()

    assert {record.key for record in snapshot.records} == {one.key for one in several(2)}
    assert again.has_data
    assert not again.health().is_writable


async def test_a_first_start_while_nobody_answers_has_nothing_to_show_and_says_so(clock: ManualClock) -> None:
    kept = Kept(clock)
    kept.behind.fail()
    await kept.open()

    assert not kept.store.has_data


async def test_a_fault_of_ours_does_not_end_the_readings(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug must show as a registry that is away, with a reason, and not as one that never changes again."""

    def fault(_: Record) -> Record:
        raise KeyError("a bug")

    fill(kept.behind, instance("i1", host="old.example"))
    await kept.read()
    with monkeypatch.context() as broken:
        broken.setattr(kept.behind, "as_kept", fault)
        fill(kept.behind, instance("i1", host="new.example"))
        await kept.read()
        assert "fault of this server" in kept.store.health().text
    await kept.read()

    assert kept.store.health().is_writable
    assert kept.mirror._held[instance("i1").key] == instance("i1", host="new.example")


async def test_a_write_that_it_never_takes_does_not_keep_it_away(kept: Kept) -> None:
    """A schema of 1.7 MB is a 500 of the real ServiceCenter, whenever it is asked."""
    await kept.store.write([Put(instance("i1"))])
    kept.behind.unbearable.add(instance("i2").key)
    await kept.store.write([Put(instance("i2"))])
    for _ in range(10):
        await kept.read(after_s=30)
        await kept.store.renew({instance("i2").key: 90_000})
        assert kept.store.health().is_writable
        assert (kept.store.health().waiting, kept.store.health().parked) == (1, 0)
    assert kept.behind.calls.count("put") <= 12

    for _ in range(15):
        await kept.read(after_s=30)
        await kept.store.renew({instance("i2").key: 90_000})
    assert (kept.store.health().waiting, kept.store.health().parked) == (0, 1)
    kept.clock.advance(outward.PARKED_FOR_S)
    await kept.mirror.outward.offer_parked()
    assert kept.store.health().is_writable


async def test_a_write_of_ours_during_a_push_is_not_undone_by_it(kept: Kept) -> None:
    await kept.store.write([Put(record) for record in several(3)])
    kept.behind.records.clear()
    kept.behind.gate = asyncio.Event()
    push = asyncio.create_task(kept.mirror.outward.push(several(3)))
    await asyncio.sleep(0)
    changed = asyncio.create_task(kept.store.write([Put(instance("i0", host="new.example"))]))
    removed = asyncio.create_task(kept.store.write([Remove(instance("i1").key)]))
    await asyncio.sleep(0)
    kept.behind.gate.set()
    await asyncio.gather(push, changed, removed)

    assert kept.behind.records[instance("i0").key] == instance("i0", host="new.example")
    assert instance("i1").key not in kept.behind.records


async def test_a_slow_registry_makes_answers_old(kept: Kept) -> None:
    await kept.read()
    kept.clock.advance(4)
    assert kept.store.data_age_s == 0

    kept.clock.advance(4)
    assert kept.store.data_age_s == 8


async def test_a_failure_of_our_own_disk_is_not_blamed_on_the_registry(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: object) -> int:
        raise StoreFull("no room")

    fill(kept.behind, instance("i1"))
    with monkeypatch.context() as broken:
        broken.setattr(kept.mirror, "_apply", full)
        await kept.read()
        assert not kept.mirror.contact.is_lost
    await kept.read(after_s=1)

    assert kept.shown == {"i1"}


async def test_a_write_that_failed_here_does_not_take_effect_there_later(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: object) -> int:
        raise StoreFull("no room")

    kept.behind.fail()
    with monkeypatch.context() as broken:
        broken.setattr(kept.local, "write", full)
        with pytest.raises(StoreFull):
            await kept.store.write([Put(instance("i1"))])
    kept.behind.mend()
    await kept.read()

    assert kept.behind.records == {}


# Doubt


async def test_when_nearly_all_is_gone_at_once_it_is_doubted_for_a_lease(kept: Kept) -> None:
    fill(kept.behind, *several(10))
    await kept.read()
    kept.behind.records.clear()
    await kept.read()
    assert len(kept.shown) == 10
    assert "gone there all at once" in kept.store.health().text
    kept.clock.advance(3)
    assert kept.store.data_age_s == 3

    fill(kept.behind, *several(4))
    await kept.read()
    assert len(kept.shown) == 10

    await kept.read(after_s=DOUBTED_FOR_S)
    assert kept.shown == {"i0", "i1", "i2", "i3"}
    assert "gone there" not in kept.store.health().text


async def test_in_doubt_who_is_alive_here_is_registered_again(kept: Kept) -> None:
    await kept.store.write([Put(record) for record in several(10)])
    await kept.store.renew({one.key: 90_000 for one in several(10)})
    kept.behind.records.clear()
    await kept.read()

    assert len(kept.behind.records) == 10


async def test_a_second_wave_is_doubted_with_the_first(kept: Kept) -> None:
    fill(kept.behind, *several(100))
    await kept.read()
    for one in several(80):
        del kept.behind.records[one.key]
    await kept.read()
    kept.behind.records.clear()
    await kept.read(after_s=1)

    assert len(kept.shown) == 100
    await kept.read(after_s=DOUBTED_FOR_S)
    assert kept.shown == set()


async def test_a_single_loss_after_most_are_back_is_believed(kept: Kept) -> None:
    fill(kept.behind, *several(10))
    await kept.read()
    kept.behind.records.clear()
    await kept.read()
    fill(kept.behind, *several(9))
    await kept.read()
    del kept.behind.records[instance("i0").key]
    await kept.read(after_s=1)

    assert "i0" not in kept.shown
    assert len(kept.shown) == 9


async def test_a_few_that_leave_are_not_doubted(kept: Kept) -> None:
    fill(kept.behind, *several(3))
    await kept.read()
    kept.behind.records.clear()
    await kept.read()

    assert kept.shown == set()


async def test_even_a_few_are_doubted_when_it_was_away_just_now(kept: Kept) -> None:
    """A restart that lost everything must not look like everybody leaving."""
    fill(kept.behind, *several(2))
    await kept.read()
    kept.behind.fail()
    await kept.read()
    kept.behind.records.clear()
    kept.behind.mend()
    await kept.read()
    assert kept.shown == {"i0", "i1"}

    await kept.read(after_s=DOUBTED_FOR_S)
    assert kept.shown == set()


# Renewals


async def test_renewals_are_told_in_batches_and_each_instance_once(kept: Kept) -> None:
    await kept.store.write([Put(record) for record in several(1_200)])
    for _ in range(3):
        await kept.store.renew({one.key: 90_000 for one in several(1_200)})
    kept.behind.calls.clear()
    await kept.mirror.outward.tell_renewals()

    assert kept.behind.calls == ["renew"] * 3
    assert len(kept.behind.renewed) == 1_200


async def test_who_is_unknown_there_is_registered_again_when_it_renews_once_more(kept: Kept) -> None:
    """Once is not enough: somebody may have ended it there in the meantime, and its owner is gone."""
    one = instance("i1")
    await kept.store.write([Put(one)])
    kept.behind.records.clear()
    await kept.store.renew({one.key: 90_000})
    await kept.mirror.outward.tell_renewals()
    await kept.mirror.outward.tell_renewals()
    assert kept.behind.records == {}

    await kept.store.renew({one.key: 90_000})
    await kept.mirror.outward.tell_renewals()
    assert set(kept.behind.records) == {one.key}


async def test_renewals_that_could_not_be_told_are_told_later(kept: Kept) -> None:
    one = instance("i1")
    await kept.store.write([Put(one)])
    await kept.store.renew({one.key: 90_000})
    kept.behind.fail()
    with kept.mirror.contact.guarded():
        await kept.mirror.outward.tell_renewals()
    kept.behind.mend()
    await kept.read()

    assert kept.behind.renewed[0].key == one.key


# Parked


async def test_an_instance_of_the_other_protocol_that_does_not_fit_is_listed_by_us_alone(kept: Kept) -> None:
    kept.behind.room = 100
    large = instance("large", metadata={"k": "v" * 200})
    await kept.store.write([Put(large)])
    await kept.read()

    assert kept.shown == {"large"}
    assert kept.behind.records == {}
    assert "listed by us alone: 1" in kept.store.health().text


async def test_a_parked_instance_ends_with_its_lease(kept: Kept) -> None:
    kept.behind.room = 100
    large = instance("large", metadata={"k": "v" * 200})
    await kept.store.write([Put(large)])
    kept.clock.advance(80)
    await kept.store.renew({large.key: 90_000})
    kept.clock.advance(80)
    await kept.mirror._end_lapsed()
    assert kept.shown == {"large"}

    kept.clock.advance(20)
    await kept.mirror._end_lapsed()
    assert kept.shown == set()


async def test_a_parked_instance_that_shrinks_goes_there(kept: Kept) -> None:
    kept.behind.room = 100
    await kept.store.write([Put(instance("i1", metadata={"k": "v" * 200}))])
    await kept.store.write([Put(instance("i1"))])

    assert set(kept.behind.records) == {instance("i1").key}
    assert not kept.mirror.outward.parked


async def test_a_parked_instance_is_offered_again_after_a_while(kept: Kept) -> None:
    """Quotas are raised, and rights are given."""
    kept.behind.room = 100
    large = instance("large", metadata={"k": "v" * 200})
    await kept.store.write([Put(large)])
    kept.behind.room = 10_000
    await kept.mirror.outward.offer_parked()
    assert kept.behind.records == {}

    kept.clock.advance(outward.PARKED_FOR_S)
    await kept.mirror.outward.offer_parked()
    assert set(kept.behind.records) == {large.key}
    assert not kept.mirror.outward.parked


async def test_nothing_is_remembered_of_registrations_that_were_refused(kept: Kept) -> None:
    kept.behind.room = 1
    for number in range(50):
        key = InstanceKey(Origin.SERVICECENTER, Space(), "s1", f"i{number}")
        with pytest.raises(UpstreamRefused):
            await kept.store.write([Put(instance("i1", key=key, metadata={"k": "v"}))])
    kept.clock.advance(outward.TIDY_EVERY_S)
    kept.mirror.outward.tidy()

    assert not kept.mirror.outward._alive_until_s


async def test_changed_keys_alone_are_compared_where_the_backend_tells_them(kept: Kept) -> None:
    fill(kept.behind, *several(3))
    await kept.read()
    kept.behind.changed = {instance("i0").key}
    fill(kept.behind, instance("i0", host="new.example"), instance("i1", host="new.example"))
    await kept.read(after_s=1)

    hosts = {key.instance_id: one.host for key, one in kept.mirror._held.items()}  # type: ignore[union-attr]
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

    assert kept.mirror._held[instance("i0").key].host == "newer.example"  # type: ignore[union-attr]


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


async def test_who_is_alive_here_and_found_missing_soon_after_a_return_is_registered_again(kept: Kept) -> None:
    """A ServiceCenter whose leases ended in etcd while it stood still answers from its caches first."""
    await kept.store.write([Put(record) for record in several(10)])
    kept.behind.fail()
    await kept.read()
    kept.behind.mend()
    await kept.store.renew({one.key: 90_000 for one in several(10)})
    await kept.read()
    del kept.behind.records[instance("i3").key]
    await kept.read()

    assert "i3" in kept.shown
    assert instance("i3").key in kept.behind.records


async def test_who_is_unknown_soon_after_a_return_is_registered_again_at_once(kept: Kept) -> None:
    await kept.store.write([Put(instance("i1"))])
    kept.behind.fail()
    await kept.read()
    kept.behind.mend()
    await kept.read()
    kept.behind.records.clear()
    await kept.store.renew({instance("i1").key: 90_000})
    await kept.mirror.outward.tell_renewals(is_recovering=True)

    assert set(kept.behind.records) == {instance("i1").key}


async def test_what_will_never_be_taken_is_refused_at_once_even_while_nobody_answers(kept: Kept) -> None:
    kept.behind.room = 100
    kept.behind.fail()
    await kept.read()
    native = instance("i1", key=InstanceKey(Origin.SERVICECENTER, Space(), "s1", "i1"), metadata={"k": "v" * 200})
    with pytest.raises(UpstreamRefused):
        await kept.store.write([Put(native)])
    await kept.store.write([Put(instance("i2", metadata={"k": "v" * 200}))])

    assert kept.shown == {"i2"}
    assert (kept.store.health().waiting, kept.store.health().parked) == (0, 1)


async def test_a_write_that_fails_here_does_not_take_an_earlier_one_along(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first was acknowledged, and waits."""

    async def full(_: object) -> int:
        raise StoreFull("no room")

    kept.behind.fail()
    await kept.store.write([Put(instance("i1", host="first.example"))])
    with monkeypatch.context() as broken:
        broken.setattr(kept.local, "write", full)
        with pytest.raises(StoreFull):
            await kept.store.write([Put(instance("i1", host="second.example"))])
    kept.behind.mend()
    await kept.read()

    assert kept.behind.records == {instance("i1").key: instance("i1", host="first.example")}


async def test_of_writes_in_one_call_none_takes_effect_later_when_one_is_refused(kept: Kept) -> None:
    kept.behind.room = 100
    kept.behind.fail()
    await kept.read()
    refused = instance("i2", key=InstanceKey(Origin.SERVICECENTER, Space(), "s1", "i2"), metadata={"k": "v" * 200})
    with pytest.raises(UpstreamRefused):
        await kept.store.write([Put(instance("i1")), Put(refused)])
    kept.behind.mend()
    await kept.read()

    assert kept.behind.records == {}


async def test_a_parked_instance_that_arrived_there_after_all_is_ended_there(kept: Kept) -> None:
    kept.behind.room = 100
    large = instance("large", metadata={"k": "v" * 200})
    await kept.store.write([Put(large)])
    fill(kept.behind, large)
    await kept.store.write([Remove(large.key)])

    assert kept.behind.records == {}


async def test_one_record_that_cannot_be_registered_again_keeps_no_other_waiting(kept: Kept) -> None:
    await kept.store.write([Put(record) for record in several(10)])
    kept.behind.fail()
    await kept.read()
    kept.behind.records.clear()
    kept.behind.unbearable.add(instance("i3").key)
    kept.behind.mend()
    await kept.store.renew({one.key: 90_000 for one in several(10)})
    await kept.read()

    assert kept.store.health().is_writable
    assert len(kept.behind.records) == 9
    assert len(kept.shown) == 10
