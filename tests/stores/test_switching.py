"""A store that takes the place of another while the registry over both goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from conformance.peers.redis import ask
from facade.clock import Clock, ManualClock, SystemClock
from facade.errors import InstanceNotFound, StoreUnavailable, UpstreamRefused
from facade.registry.model import Account, AccountName, Cause, InstanceKey, Record, RecordKey, Revision, SigningKey
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.registry.store import Commit, Follower, Put, Remove, Snapshot, Store, StoreHealth, Write
from facade.stores import switch as switching
from facade.stores.memory import MemoryStore
from facade.stores.mirror import Mirror
from facade.stores.sqlite import SqliteStore
from facade.stores.switch import OnlyThere, Phase, Switch
from facade.stores.switchboard import Switchboard
from facade.stores.switching import SwitchingStore
from facade.stores.upstream import UpstreamStore
from tests.registry.records import flat, qualified, service
from tests.stores.behind import Behind
from tests.stores.examples import ONE_OF_EACH
from tests.stores.redis_nodes import redis_store, until

pytestmark = pytest.mark.anyio

ACCOUNT = next(one for one in ONE_OF_EACH if isinstance(one, Account))


class Flaky(MemoryStore):
    """A store in memory that fails, refuses or waits when told to."""

    failures = 0
    refuses: str | None = None
    gate: asyncio.Event | None = None
    is_spared: Callable[[], bool] = staticmethod(lambda: False)
    """Whether it works, whatever else is said."""

    async def write(self, writes: Sequence[Write]) -> Revision:
        if self.gate is not None:
            await self.gate.wait()
        if self.refuses is not None:
            raise UpstreamRefused(self.refuses)
        if self.failures and not self.is_spared():
            self.failures -= 1
            raise StoreUnavailable("out of order")
        return await super().write(writes)


class Deaf(MemoryStore):
    """One that is slow to open, and swallows a cancellation meanwhile, as redis-py does while it connects."""

    is_opening = False

    async def open(self, follower: Follower) -> Snapshot:
        self.is_opening = True
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return await super().open(follower)


class Patient(Switch):
    """One that flips when told to."""

    may_flip = False

    def _has_all(self) -> bool:
        return self.may_flip and super()._has_all()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switching, "TRY_AGAIN_S", 0.01)


@asynccontextmanager
async def over(store: Store, clock: Clock) -> AsyncIterator[tuple[Registry, SwitchingStore]]:
    switched = SwitchingStore(store)
    registry = Registry(switched, clock, Policy(self_preservation=False))
    await registry.open()
    yield registry, switched
    await registry.close()


def to(
    coming: Store,
    registry: Registry,
    store: SwitchingStore,
    *,
    is_dry: bool = False,
    only_there: OnlyThere = OnlyThere.REFUSE,
) -> Switch:
    return Switch(store, registry, coming, "the other", only_there=only_there, is_dry=is_dry)


async def held_by(store: Store) -> dict[RecordKey, Record]:
    """What a store holds when it is opened once more."""
    snapshot = await store.open(lambda _: None)
    await store.close()
    return {record.key: record for record in snapshot.records}


def shown_by(registry: Registry) -> dict[RecordKey, Record]:
    return {
        key: record for key in registry.catalogue.record_keys() if (record := registry.catalogue.find(key)) is not None
    }


Make = Callable[[], Store]
"""Opens the same store anew, each time."""


def in_memory(_: Path, clock: Clock) -> Make:
    store = MemoryStore(clock)
    return lambda: store


def in_sqlite(file: Path, clock: Clock) -> Make:
    return lambda: SqliteStore(file, clock)


def behind_us(file: Path, clock: Clock) -> Make:
    behind = Behind()
    return lambda: UpstreamStore(SqliteStore(file, clock), [Mirror(behind, clock)])


MAKE = {"memory": in_memory, "sqlite": in_sqlite, "behind": behind_us}
KINDS = [*MAKE, "redis"]


@pytest.fixture(params=[(one, other) for one in KINDS for other in KINDS], ids="-to-".join)
def stores(request: pytest.FixtureRequest, tmp_path: Path, redis_url: Callable[[], str]) -> tuple[Make, Make]:
    """On a clock that goes by itself: a write that waits, because the machine stood still, is sent again after 5 s."""
    clock = SystemClock()

    def made(kind: str, name: str) -> Make:
        if kind == "redis":
            return lambda: redis_store(redis_url(), f"{tmp_path.name}-{name}", clock)
        return MAKE[kind](tmp_path / f"{name}.db", clock)

    one, other = request.param
    return made(one, "one"), made(other, "other")


async def test_all_records_of_any_store_are_in_any_other_after_a_switch(
    stores: tuple[Make, Make],
) -> None:
    old, reopened = stores[0](), stores[1]
    new = reopened()
    async with over(old, SystemClock()) as (registry, store):
        await store.write([Put(record) for record in ONE_OF_EACH])
        before, revision = shown_by(registry), registry.revision

        left = await to(new, registry, store).run()

        assert left is old
        assert shown_by(registry) == before
        assert registry.revision == revision
        await registry.register(flat("LATER"))
        assert registry.revision > revision
        after = shown_by(registry)
        await old.close()
    assert await held_by(reopened()) == after


@pytest.mark.parametrize(("is_dry", "level"), [(True, logging.INFO), (False, logging.WARNING)])
async def test_a_look_is_nothing_to_warn_of(
    clock: ManualClock, caplog: pytest.LogCaptureFixture, is_dry: bool, level: int
) -> None:
    """A switch is: the settings name the old store yet."""
    async with over(MemoryStore(clock), clock) as (registry, store):
        with caplog.at_level(logging.INFO):
            await to(MemoryStore(clock), registry, store, is_dry=is_dry).run()

    [line] = [one for one in caplog.records if one.name == "facade.stores.switch"]
    assert line.levelno == level


async def test_a_look_writes_nothing_and_tells_what_would_be(clock: ManualClock) -> None:
    old, new = MemoryStore(clock), MemoryStore(clock)
    await new.open(lambda _: None)
    await new.write([Put(flat("SAME")), Put(flat("OTHER", host="elsewhere")), Put(flat("THEIRS"))])
    async with over(old, clock) as (registry, store):
        await store.write([Put(one) for one in (flat("SAME"), flat("OTHER"), flat("MISSING"), service())])

        switch = to(new, registry, store, is_dry=True)
        assert await switch.run() is None

        assert switch.phase is Phase.LOOKED
        assert switch.survey is not None
        plan = switch.survey.told()
        assert plan.missing == {"services": 1, "instances": 1}
        assert (plan.same, plan.differing.count, plan.only_there) == (1, 1, 1)
    assert len(await held_by(new)) == 3


async def test_what_only_the_new_store_holds_is_shown_from_the_flip_on(clock: ManualClock) -> None:
    new = MemoryStore(clock)
    await new.open(lambda _: None)
    await new.write([Put(flat("THEIRS"))])
    async with over(MemoryStore(clock), clock) as (registry, store):
        await registry.register(flat("OURS"))
        heard: list[Revision] = [registry.revision]
        registry.feed.follow(lambda change: heard.append(change.revision))

        await to(new, registry, store, only_there=OnlyThere.KEEP).run()
        await registry.register(flat("LATER"))

        assert {lease.instance.application for lease in registry.catalogue.leases.values()} == {
            "OURS",
            "THEIRS",
            "LATER",
        }
        assert heard == sorted(set(heard))
        assert len(heard) == 3


async def test_what_ended_since_a_store_was_left_does_not_come_back_by_itself(clock: ManualClock) -> None:
    """An account that was deleted, above all."""
    first, second = MemoryStore(clock), MemoryStore(clock)
    async with over(first, clock) as (registry, store):
        await store.write([Put(ACCOUNT), Put(service()), Put(flat())])
        await (await to(second, registry, store).run()).close()  # type: ignore[union-attr]  # it was switched: there is one before
        await store.write([Remove(ACCOUNT.key), Remove(service().key)])
        shown = shown_by(registry)

        refused = to(first, registry, store)
        assert await refused.run() is None
        assert refused.phase is Phase.FAILED
        assert "2 records are only there" in refused.trouble

        assert await to(first, registry, store, only_there=OnlyThere.REMOVE).run() is second
        assert shown_by(registry) == shown
    assert await held_by(first) == shown


async def test_what_others_write_to_is_never_removed(clock: ManualClock) -> None:
    behind = Behind()
    behind.records[flat("THEIRS").key] = flat("THEIRS")
    new = UpstreamStore(MemoryStore(clock), [Mirror(behind, clock)])
    async with over(MemoryStore(clock), clock) as (registry, store):
        await to(new, registry, store, only_there=OnlyThere.REMOVE).run()

        assert list(shown_by(registry)) == [flat("THEIRS").key]
    assert list(behind.records) == [flat("THEIRS").key]


@asynccontextmanager
async def with_others(url: str, name: str, *records: Record) -> AsyncIterator[Registry]:
    """Another server over that Redis, which holds these."""
    clock = SystemClock()
    async with over(redis_store(url, name, clock), clock) as (registry, store):
        await store.write([Put(record) for record in records])
        await until(lambda: bool(ask(url, "HLEN", f"{{{name}}}:nodes")))  # its first sign of life comes after a second
        yield registry


async def test_where_others_live_already_clients_are_let_in_as_those_know_it(
    redis_url: Callable[[], str], tmp_path: Path
) -> None:
    """Their tokens are signed by their key; ours is no longer good."""
    url, name, clock = redis_url(), tmp_path.name, SystemClock()
    theirs = [SigningKey(pem="theirs", made_s=1), structs.replace(ACCOUNT, password_hash="theirs")]
    anna = structs.replace(ACCOUNT, key=AccountName("anna"))
    ours = [SigningKey(pem="ours", made_s=2), structs.replace(ACCOUNT, password_hash="ours"), anna]
    async with (
        with_others(url, name, *theirs, flat()) as other,
        over(MemoryStore(clock), clock) as (registry, store),
    ):
        await store.write([Put(one) for one in [*ours, flat(host="moved")]])

        switch = Patient(store, registry, redis_store(url, name, clock), "the other", is_dry=False)
        task = asyncio.create_task(switch.run())
        await until(lambda: switch.phase is Phase.COMPARING)
        await store.write([Put(structs.replace(ACCOUNT, password_hash="changed meanwhile"))])
        switch.may_flip = True
        await task

        assert switch.plan is not None
        assert (switch.plan.differing.count, switch.plan.theirs.count) == (1, 2)
        assert registry.catalogue.signing_key == theirs[0]
        assert shown_by(registry) == {one.key: one for one in [*theirs, anna, flat(host="moved")]}
        await until(lambda: shown_by(other) == shown_by(registry))


async def test_an_account_that_others_remove_meanwhile_does_not_come_back(
    redis_url: Callable[[], str], tmp_path: Path
) -> None:
    url, name, clock = redis_url(), tmp_path.name, SystemClock()
    async with with_others(url, name, ACCOUNT) as other, over(MemoryStore(clock), clock) as (registry, store):
        await store.write([Put(ACCOUNT)])
        switch = Patient(store, registry, redis_store(url, name, clock), "the other", is_dry=False)
        task = asyncio.create_task(switch.run())
        await until(lambda: switch.phase is Phase.COMPARING)
        await other.transact(ACCOUNT.key, lambda: [Remove(ACCOUNT.key)])
        await until(lambda: ACCOUNT.key not in switch._there)
        switch.may_flip = True
        await task

        assert not shown_by(registry) and not shown_by(other)


async def test_revisions_grow_though_those_of_the_new_store_are_behind(clock: ManualClock) -> None:
    behind = ManualClock(clock.now_ms() - 3_600_000)
    async with over(MemoryStore(clock), clock) as (registry, store):
        await registry.register(flat())
        first = registry.revision

        await to(MemoryStore(behind), registry, store).run()
        await registry.register(flat(instance_id="orders-2"))
        second = registry.revision
        await to(MemoryStore(behind), registry, store).run()
        await registry.register(flat(instance_id="orders-3"))

        assert first < second < registry.revision


async def test_what_fails_at_the_new_store_fails_no_client_and_is_repaired(clock: ManualClock) -> None:
    new = Flaky(clock)
    new.failures = 7
    async with over(MemoryStore(clock), clock) as (registry, store):
        for number in range(5):
            await registry.register(flat(instance_id=f"orders-{number}"))

        switch = to(new, registry, store)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(switch.run)
            for number in range(20):
                await registry.register(flat(instance_id=f"later-{number}"))

        assert (switch.phase, new.failures) == (Phase.SWITCHED, 0)
        shown = shown_by(registry)
        assert len(shown) == 25
    assert await held_by(new) == shown


async def test_a_record_that_the_new_store_never_takes_ends_the_switch_and_is_named(clock: ManualClock) -> None:
    new = Flaky(clock)
    new.refuses = "too large"
    async with over(MemoryStore(clock), clock) as (registry, store):
        await registry.register(flat())

        switch = to(new, registry, store)
        assert await switch.run() is None

        assert switch.phase is Phase.FAILED
        assert switch.trouble == "not taken there: instance ORDERS/orders-1: too large"
        await registry.register(flat(instance_id="orders-2"))
    assert not await held_by(new)


async def test_a_switch_is_called_off_and_the_old_store_stays_the_truth(clock: ManualClock) -> None:
    old, new = MemoryStore(clock), Flaky(clock)
    new.gate = asyncio.Event()
    async with over(old, clock) as (registry, store):
        await registry.register(flat())
        switch = to(new, registry, store)
        task = asyncio.create_task(switch.run())
        await until(lambda: switch.phase is Phase.COPYING)

        task.cancel()
        assert await task is None
        assert switch.phase is Phase.CALLED_OFF
        await registry.register(flat(instance_id="orders-2"))
        shown = shown_by(registry)
    assert await held_by(old) == shown


@pytest.mark.parametrize("how", ["call_off", "close"])
async def test_one_that_does_not_hear_its_cancellation_is_called_off_all_the_same(clock: ManualClock, how: str) -> None:
    old, new = MemoryStore(clock), Deaf(clock)
    async with over(old, clock) as (registry, store):
        await registry.register(flat())
        board = Switchboard(store, registry, "the old", lambda url: (new, url))
        switch = board.begin("the new", is_dry=False)
        await until(lambda: new.is_opening)

        await getattr(board, how)()

        assert (switch.phase, board.stands) == (Phase.CALLED_OFF, "the old")
        assert store.current is old


async def test_no_client_waits_for_a_new_store_that_hangs(clock: ManualClock) -> None:
    new = Flaky(clock)
    async with over(MemoryStore(clock), clock) as (registry, store):
        switch = to(new, registry, store)
        await registry.register(flat())
        new.gate = asyncio.Event()
        task = asyncio.create_task(switch.run())
        await until(lambda: switch.phase is not Phase.LOOKING)
        await registry.register(flat(instance_id="orders-2"))
        registry.renew(flat().key)
        await registry.tell_renewals()

        assert not task.done()
        new.gate.set()
        await task
        assert len(await held_by(new)) == 2


async def test_there_is_no_flip_while_writes_wait_in_memory_alone(clock: ManualClock) -> None:
    class Waiting(MemoryStore):
        waiting = 1

        def health(self) -> StoreHealth:
            return StoreHealth(True, "one write waits", waiting=self.waiting)

    new = Waiting(clock)
    async with over(MemoryStore(clock), clock) as (registry, store):
        await registry.register(flat())
        switch = to(new, registry, store)
        task = asyncio.create_task(switch.run())
        await until(lambda: switch.trouble == "one write waits")

        assert store.current is not new
        new.waiting = 0
        await task
        assert store.current is new


async def test_what_the_old_store_tells_after_the_flip_is_not_heard(clock: ManualClock) -> None:
    old = MemoryStore(clock)
    async with over(old, clock) as (registry, store):
        await to(MemoryStore(clock), registry, store).run()
        await old.write([Put(flat())])

        assert not registry.catalogue.leases


# Leases


class Keeper(MemoryStore):
    """A store that ends leases itself, as a registry behind us does."""

    def keeps_lease(self, key: object) -> bool:
        return True


async def lapse(registry: Registry, clock: ManualClock, seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(1)
        await registry.sweep()


async def test_a_lease_goes_on_with_what_is_left_of_it(clock: ManualClock) -> None:
    async with over(MemoryStore(clock), clock) as (registry, store):
        key = (await registry.register(flat())).key
        await lapse(registry, clock, 60)
        await to(MemoryStore(clock), registry, store).run()

        assert registry.remaining_s(key) == 30
        await lapse(registry, clock, 32)
        with pytest.raises(InstanceNotFound):
            registry.renew(key)


async def test_a_lease_that_the_old_store_kept_gets_a_term_and_then_ends(clock: ManualClock) -> None:
    """Whose owner renews elsewhere, or is gone, nobody knows any more."""
    async with over(Keeper(clock), clock) as (registry, store):
        key = (await registry.register(flat())).key
        await lapse(registry, clock, 500)
        await to(MemoryStore(clock), registry, store).run()

        await lapse(registry, clock, 88)
        assert registry.renew(key)
        await lapse(registry, clock, 182)
        with pytest.raises(InstanceNotFound):
            registry.renew(key)


async def test_a_lease_that_the_new_store_keeps_is_left_to_it(clock: ManualClock) -> None:
    async with over(MemoryStore(clock), clock) as (registry, store):
        await registry.register(flat())
        await to(Keeper(clock), registry, store).run()
        await lapse(registry, clock, 500)

        assert registry.catalogue.leases


async def test_the_new_store_is_told_what_is_left_of_leases_and_of_renewals(clock: ManualClock) -> None:
    told: dict[RecordKey, int] = {}

    class Told(MemoryStore):
        async def renew(self, remaining_ms: Mapping[InstanceKey, int]) -> Collection[InstanceKey]:
            told.update(remaining_ms)
            return ()

    async with over(MemoryStore(clock), clock) as (registry, store):
        renewed = (await registry.register(flat())).key
        never = (await registry.register(flat(instance_id="orders-2"))).key
        registry.renew(renewed)
        await registry.tell_renewals()
        clock.advance(50)

        switch = Patient(store, registry, Told(clock), "the other", is_dry=False)
        task = asyncio.create_task(switch.run())
        await until(lambda: bool(told))
        assert told == {renewed: 130_000}

        registry.renew(never)
        await registry.tell_renewals()
        await until(lambda: never in told)
        assert told[never] == 180_000
        assert store.current is not switch._to
        switch.may_flip = True
        await task


# The law

NAMES = st.integers(0, 5)
OPERATION = st.one_of(
    st.tuples(st.just("register"), NAMES, st.integers(0, 3)),
    st.tuples(st.just("serve"), NAMES, st.integers(0, 3)),
    st.tuples(st.just("cancel"), NAMES, st.just(0)),
    st.tuples(st.just("renew"), NAMES, st.just(0)),
    st.tuples(st.just("wait"), st.just(0), st.integers(1, 4)),
    st.tuples(st.just("fail"), st.just(0), st.integers(1, 3)),
)


async def act(registry: Registry, new: Flaky, kind: str, number: int, value: int) -> None:
    key = flat(instance_id=f"orders-{number}").key
    match kind:
        case "register":
            await registry.register(flat(instance_id=key.instance_id, host=f"h{value}"))
        case "serve":
            made = service(f"cart-{number}", properties={"v": str(value)})
            await registry.transact(made.key, lambda: [Put(made), Put(qualified(made, f"c{number}"))])
        case "cancel" if registry.catalogue.instance(key) is not None:
            await registry.cancel(key)
        case "renew" if registry.catalogue.instance(key) is not None:
            registry.renew(key)
            await registry.tell_renewals()
        case "wait":
            for _ in range(value):
                await asyncio.sleep(0)
        case "fail":
            new.failures += value


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    first=st.lists(OPERATION, max_size=12),
    between=st.lists(OPERATION, min_size=1, max_size=30),
    there=st.sets(NAMES, max_size=3),
    rate=st.sampled_from([0.0, 2000.0]),
    is_patient=st.booleans(),
)
def test_after_a_flip_both_stores_hold_the_same_whatever_came_between(
    monkeypatch: pytest.MonkeyPatch,
    first: list[tuple[str, int, int]],
    between: list[tuple[str, int, int]],
    there: set[int],
    rate: float,
    is_patient: bool,
) -> None:
    monkeypatch.setattr(switching, "TRY_AGAIN_S", 0.0)

    async def story() -> None:
        clock = ManualClock()
        with TemporaryDirectory() as home:
            old, new = SqliteStore(Path(home, "old.db"), clock), Flaky(clock)
            await new.open(lambda _: None)
            await new.write([Put(flat(instance_id=f"orders-{number}", host="stale")) for number in there])
            async with over(old, clock) as (registry, store):
                new.is_spared = lambda: store.current is new  # type: ignore[method-assign]  # of one object alone
                seen: list[Revision] = [registry.revision]
                registry.feed.follow(lambda change: seen.append(change.revision))
                for operation in first:
                    await act(registry, new, *operation)
                listed: set[RecordKey] = set(shown_by(registry))
                kept = OnlyThere.KEEP
                switch = Patient(store, registry, new, "the other", rate=rate, only_there=kept, is_dry=False)
                switch.may_flip = not is_patient
                task = asyncio.create_task(switch.run())
                for operation in between:
                    await act(registry, new, *operation)
                    if operation[0] == "cancel":
                        listed.discard(flat(instance_id=f"orders-{operation[1]}").key)
                    assert listed <= set(shown_by(registry))
                switch.may_flip = True
                assert await task is old
                await old.close()
                shown = shown_by(registry)
                assert seen == sorted(seen)
            assert switch.phase is Phase.SWITCHED
            assert await held_by(new) == shown

    asyncio.run(story())


async def test_a_removal_that_the_new_store_tells_of_a_record_of_ours_is_repaired(clock: ManualClock) -> None:
    """A registry behind us ends a lease before it is told of a renewal: the old store is the truth until the flip."""
    new = Flaky(clock)
    async with over(MemoryStore(clock), clock) as (registry, store):
        await registry.register(flat())
        switch = Patient(store, registry, new, "the other", is_dry=False)
        task = asyncio.create_task(switch.run())
        await until(lambda: flat().key in new._records)
        await new.write([Remove(flat().key, Cause.GONE)])
        switch.may_flip = True
        await task

        assert list(shown_by(registry)) == [flat().key]
    assert list(await held_by(new)) == [flat().key]


async def test_a_commit_of_the_store_that_is_to_come_shows_nothing_yet(clock: ManualClock) -> None:
    heard: list[Commit] = []
    store = SwitchingStore(MemoryStore(clock))
    await store.open(heard.append)
    coming, other = MemoryStore(clock), list[Commit]()
    await coming.open(store.follower_of(coming, other.append))
    await coming.write([Put(flat())])

    assert (len(heard), len(other)) == (0, 1)
