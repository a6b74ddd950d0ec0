"""What every store promises the registry (facade/registry/store.py), asked of each kind alike."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import anyio
import httpx
import pytest
from starlette.types import ASGIApp

from facade.application import application
from facade.clock import ManualClock
from facade.config import Settings
from facade.errors import Overtaken, StoreUnavailable
from facade.eureka.client import EurekaClient
from facade.outbound import Outbound
from facade.parts import policy_of
from facade.registry.model import Cause, InstanceKey, Record, RecordKey, Revision, Schema
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.registry.store import Commit, Put, Remove, Snapshot, Store, Write
from facade.servicecenter.client import ServiceCenterClient
from facade.stores.backend import Backend
from facade.stores.memory import MemoryStore
from facade.stores.opening import mirrors
from facade.stores.sqlite import SqliteStore
from facade.stores.upstream import UpstreamStore
from facade.stores.upstream_eureka import EurekaBackend
from facade.stores.upstream_servicecenter import ServiceCenterBackend
from tests.stores.examples import ONE_OF_EACH, instance
from tests.stores.redis_nodes import redis_store

pytestmark = pytest.mark.anyio


class Opened(NamedTuple):
    """A store in use, what it held when it was opened, and what its follower has heard since."""

    store: Store
    snapshot: Snapshot
    heard: list[Commit]


Start = Callable[[], Awaitable[Opened]]
Make = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite", "redis", "servicecenter", "eureka", "both"])
async def made(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, redis_url: Callable[[], str]
) -> AsyncIterator[Make]:
    """Makes a store over one place, empty at first. Made again, it finds there what the one before has left."""
    kept_in_memory = MemoryStore(clock)
    file = tmp_path / "data" / "registry.db"
    async with registry_behind(clock) as one_behind, registry_behind(clock) as other_behind:

        def over(*backends: Backend) -> Store:
            return UpstreamStore(SqliteStore(file, clock), mirrors(clock, *backends))

        kinds: dict[str, Make] = {
            "memory": lambda: kept_in_memory,
            "sqlite": lambda: SqliteStore(file, clock),
            "redis": lambda: redis_store(redis_url(), f"contract-{tmp_path.name}", clock),
            "servicecenter": lambda: over(servicecenter(one_behind, clock)),
            "eureka": lambda: over(eureka(one_behind, clock)),
            "both": lambda: over(servicecenter(one_behind, clock), eureka(other_behind, clock)),
        }
        yield kinds[request.param]


async def persist(store: Store, writes: Sequence[Write]) -> Revision:
    """As the registry writes: who was overtaken decides anew, and here that is the same."""
    while True:
        with suppress(Overtaken):
            return await store.write(writes)


@asynccontextmanager
async def registry_behind(clock: ManualClock) -> AsyncIterator[ASGIApp]:
    """A second server of ours in the part of the registry behind: it keeps marks, as the originals do."""
    settings = Settings(keep_marks=True)
    registry = Registry(MemoryStore(clock), clock, policy_of(settings))
    await registry.open()
    yield application(registry, settings, [])[0]
    await registry.close()


def servicecenter(behind: ASGIApp, clock: ManualClock) -> Backend:
    outbound = Outbound(["http://behind.test"], clock=clock, transport=httpx.ASGITransport(behind))
    return ServiceCenterBackend(ServiceCenterClient(outbound), Policy(), clock)


def eureka(behind: ASGIApp, clock: ManualClock) -> Backend:
    outbound = Outbound(["http://behind.test/eureka"], clock=clock, transport=httpx.ASGITransport(behind))
    return EurekaBackend(EurekaClient(outbound), Policy(), clock)


@pytest.fixture
async def start(made: Callable[[], Store]) -> AsyncIterator[Start]:
    """Opens a store over the one place; one that was opened before is closed first."""
    stack = AsyncExitStack()

    async def start() -> Opened:
        await stack.aclose()
        store = made()
        heard: list[Commit] = []
        snapshot = await store.open(heard.append)
        stack.push_async_callback(store.close)
        return Opened(store, snapshot, heard)

    yield start
    await stack.aclose()


def by_key(snapshot: Snapshot) -> dict[RecordKey, Record]:
    return {record.key: record for record in snapshot.records}


async def test_a_new_store_is_empty(start: Start) -> None:
    assert not (await start()).snapshot.records


@pytest.mark.parametrize("record", ONE_OF_EACH, ids=lambda record: type(record).__name__)
async def test_a_record_comes_back_as_it_was_written(start: Start, record: Record) -> None:
    needed = [one for one in ONE_OF_EACH if isinstance(record, Schema) and one.key == record.key.service]
    await (await start()).store.write([Put(one) for one in [*needed, record]])

    assert by_key((await start()).snapshot) == {one.key: one for one in [*needed, record]}


async def test_records_of_different_kinds_do_not_replace_each_other(start: Start) -> None:
    await (await start()).store.write([Put(record) for record in ONE_OF_EACH])

    held = (await start()).snapshot.records
    assert sorted(map(repr, held)) == sorted(
        map(repr, ONE_OF_EACH)
    )  # by all of it: keys that are equal hide each other


async def test_the_follower_has_heard_before_the_write_returns(start: Start, clock: ManualClock) -> None:
    store, _, heard = await start()
    writes = (Put(instance("a"), Cause.AMENDED), Put(instance("b")))

    revision = await store.write(writes)

    assert heard == [Commit(revision, clock.now_ms(), writes)]


async def test_a_put_replaces(start: Start) -> None:
    store, *_ = await start()
    await store.write([Put(instance("a", host="old.example"))])
    await store.write([Put(instance("a", host="new.example"))])

    assert (await start()).snapshot.records[0] == instance("a", host="new.example")


async def test_a_removed_record_is_gone(start: Start) -> None:
    store, _, heard = await start()
    await store.write([Put(instance("a")), Put(instance("b"))])
    await store.write([Remove(instance("a").key, Cause.GONE)])

    assert heard[-1].writes == (Remove(instance("a").key, Cause.GONE),)
    assert list(by_key((await start()).snapshot)) == [instance("b").key]


async def test_removing_what_is_not_there_is_no_change(start: Start) -> None:
    store, _, heard = await start()
    before = await store.write([Put(instance("a"))])

    revision = await store.write([Remove(instance("b").key), Remove(instance("c").key)])

    assert revision == before
    assert len(heard) == 1


async def test_a_commit_tells_only_what_changed(start: Start) -> None:
    store, _, heard = await start()
    await store.write([Put(instance("a"))])

    await store.write([Remove(instance("b").key), Remove(instance("a").key), Remove(instance("a").key)])

    assert heard[-1].writes == (Remove(instance("a").key),)


async def test_writes_of_one_call_are_made_in_order(start: Start) -> None:
    store, *_ = await start()
    await store.write([Put(instance("a")), Remove(instance("a").key), Put(instance("a", host="last.example"))])

    assert (await start()).snapshot.records[0] == instance("a", host="last.example")


async def test_each_of_many_writers_gets_the_revision_of_its_own_commit(start: Start) -> None:
    store, snapshot, heard = await start()
    revisions: dict[str, Revision] = {}

    async def write(name: str) -> None:
        revisions[name] = await store.write([Put(instance(name))])

    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(write, f"i-{number}")

    told = [(put.record.key, commit.revision) for commit in heard for put in commit.writes if isinstance(put, Put)]
    assert dict(told) == {instance(name).key: revision for name, revision in revisions.items()}
    numbers = [snapshot.revision, *(commit.revision for commit in heard)]
    assert numbers == sorted(set(numbers))


async def test_writers_of_one_record_leave_what_the_follower_heard_last(start: Start) -> None:
    store, _, heard = await start()
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(persist, store, [Put(instance("a", updated_ms=number))])

    last = heard[-1].writes[0]
    assert isinstance(last, Put)
    assert list((await start()).snapshot.records) == [last.record]


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_kept_is_what_the_follower_heard(start: Start, seed: int) -> None:
    """The registry's picture is made of the snapshot and the commits; the next start must find the same."""
    chance = random.Random(seed)
    store, _, heard = await start()

    async def write_some() -> None:
        for _ in range(30):
            name = f"i-{chance.randrange(8)}"
            one: Write = Remove(instance(name).key)
            other: Write = Put(instance(name, updated_ms=chance.randrange(1000)))
            await persist(store, chance.choice([[one], [other], [one, other], [other, one]]))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(write_some)

    pictured: dict[RecordKey, Record] = {}
    for write in (write for commit in heard for write in commit.writes):
        if isinstance(write, Put):
            pictured[write.record.key] = write.record
        else:
            del pictured[write.key]
    assert by_key((await start()).snapshot) == pictured


async def test_a_writer_that_goes_away_takes_no_other_with_it(start: Start) -> None:
    store, *_ = await start()
    with anyio.CancelScope() as impatient:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.write, [Put(instance("a"))])
            tasks.start_soon(store.write, [Put(instance("b"))])
            impatient.cancel()

    await store.write([Put(instance("c"))])

    assert instance("c").key in by_key((await start()).snapshot)


async def test_the_revisions_of_a_new_store_begin_at_the_clock(start: Start, clock: ManualClock) -> None:
    """So they grow even over a restart that lost everything: clients outlive the data and remember a number."""
    assert (await start()).snapshot.revision >= clock.now_ms()


async def test_revisions_grow_over_a_restart(start: Start) -> None:
    last = await (await start()).store.write([Put(instance("a"))])
    store, snapshot, _ = await start()

    assert snapshot.revision >= last
    assert await store.write([Put(instance("b"))]) > last


async def test_revisions_grow_though_the_clock_was_set_back(start: Start, clock: ManualClock) -> None:
    last = await (await start()).store.write([Put(instance("a"))])
    clock.advance(-3600)

    assert await (await start()).store.write([Put(instance("b"))]) > last


async def test_a_restart_without_history_begins_an_epoch(start: Start, request: pytest.FixtureRequest) -> None:
    """Readers who kept a revision from before must not be answered from a history that is not there."""
    if request.node.callspec.params["made"] == "redis":
        pytest.skip("Redis keeps the history that its nodes share")
    epochs = {(await start()).snapshot.epoch for _ in range(3)}

    assert len(epochs) == 3
    assert all(epochs)


async def test_an_instance_never_registered_cannot_be_renewed(start: Start) -> None:
    """The client takes the refusal as its cue to register."""
    store, *_ = await start()
    await store.write([Put(instance("a")), Put(instance("gone"))])
    await store.write([Remove(instance("gone").key)])

    unknown = await store.renew({instance(name).key: 90_000 for name in ("a", "gone", "stranger")})

    assert set(unknown) == {instance("gone").key, instance("stranger").key}


async def test_an_instance_from_before_the_restart_can_be_renewed(start: Start) -> None:
    await (await start()).store.write([Put(instance("a"))])
    store, *_ = await start()
    key: InstanceKey = instance("a").key

    assert not await store.renew({key: 90_000})


async def test_a_renewal_is_no_commit(start: Start) -> None:
    store, _, heard = await start()
    revision = await store.write([Put(instance("a"))])
    await store.renew({instance("a").key: 90_000})

    assert len(heard) == 1
    assert await store.write([]) == revision


async def test_a_store_that_is_not_open_takes_no_writes(made: Callable[[], Store], start: Start) -> None:
    with pytest.raises(StoreUnavailable):
        await made().write([Put(instance("a"))])

    store, *_ = await start()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.write([Put(instance("a"))])


async def test_closing_waits_for_the_writes_under_way(start: Start) -> None:
    store, *_ = await start()
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(store.write, [Put(instance(f"i-{number}"))])
        await anyio.lowlevel.checkpoint()
        await store.close()

    assert len((await start()).snapshot.records) == 20


async def test_closing_twice_is_no_error(start: Start) -> None:
    store, *_ = await start()
    await store.close()
    await store.close()


async def test_health_is_a_line_for_people(start: Start) -> None:
    store, *_ = await start()
    await store.write([Put(instance("a"))])
    health = store.health()

    assert health.is_writable
    assert health.text
    assert "\n" not in health.text
    assert "\n" not in health.text
