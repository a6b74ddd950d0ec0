"""While nobody answers there: writes wait, reads go on, and what happens when it comes back."""

from __future__ import annotations

import asyncio

import pytest

from facade.clock import ManualClock
from facade.errors import StoreFull, StoreUnavailable, UpstreamRefused
from facade.registry.model import InstanceKey, Origin, Record, Space
from facade.registry.store import Put, Remove
from facade.stores import outward
from facade.stores.mirror import Mirror
from facade.stores.upstream import UpstreamStore
from tests.stores.examples import instance
from tests.stores.upstream.kept import Kept, fill, several

pytestmark = pytest.mark.anyio


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


# Two registries


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
