"""Commits: shared by writers, waited for, and what follows a failed one."""

from __future__ import annotations

# These tests are about files, processes and waiting for them. Nothing else runs on their event loop.
from pathlib import Path

import pytest

from facade.clock import ManualClock
from facade.errors import MalformedDocument, StoreFull, StoreUnavailable
from facade.registry.store import Commit, Put, Remove
from facade.stores.sqlite import SqliteStore
from tests.stores.examples import instance
from tests.stores.sqlite_file.files import BIG, Disk, Start, held_in, instances, outcomes, until_writable

pytestmark = pytest.mark.anyio


async def test_writes_that_gather_share_a_commit(start: Start, disk: Disk) -> None:
    store = await start()
    before = disk.commits
    await outcomes(store, *(instance(str(number)) for number in range(100)))

    assert disk.commits - before <= 2


async def test_every_commit_waits_for_the_disk(start: Start, disk: Disk) -> None:
    """Promise 1 speaks of power loss, which no test here can cause; 2 is FULL, after each re-opening too."""
    store = await start()
    disk.is_failing_after_commit = True
    await outcomes(store, instance("a"))
    disk.is_failing_after_commit = False
    await until_writable(store)

    assert disk.synchronous == {2}


async def test_a_record_that_cannot_be_encoded_fails_its_own_writer_only(start: Start) -> None:
    found = await outcomes(await start(), instance("a"), instance("b", host="\ud800"), instance("c"))

    assert found == ["kept", MalformedDocument.__name__, "kept"]


async def test_a_follower_that_fails_keeps_nobody_waiting(path: Path, clock: ManualClock) -> None:
    def follower(commit: Commit) -> None:
        if commit.writes == (Put(instance("b")),):
            raise KeyError("a bug")

    store = SqliteStore(path, clock)
    await store.open(follower)
    found = await outcomes(store, instance("a"), instance("b"), instance("c"))
    await store.close()

    assert found == ["kept", "KeyError", "kept"]


async def test_a_failed_commit_is_never_seen_even_if_it_reached_the_disk(start: Start, disk: Disk, path: Path) -> None:
    """F4. Its writers were told that it failed. Nothing of it may turn up when the file is opened anew."""
    heard: list[Commit] = []
    store = await start(heard=heard)
    await store.write([Put(instance("a")), Put(instance("b")), Put(instance("c"))])
    disk.is_failing_after_commit = True
    with pytest.raises(StoreUnavailable):
        await store.write([Put(instance("a", host="unseen.example")), Remove(instance("c").key), Put(instance("d"))])
    disk.is_failing_after_commit = False
    await until_writable(store)
    await store.write([Put(instance("e"))])
    await store.close()

    assert len(heard) == 2
    assert list((await held_in(path)).items()) == list(instances("a", "b", "c", "e").items())


async def test_a_failed_commit_fails_its_own_writers_only(start: Start, disk: Disk, path: Path) -> None:
    store = await start()
    before = await outcomes(store, instance("a"), instance("b"))
    disk.is_failing_after_commit = True
    during = await outcomes(store, instance("c"), instance("d"))
    disk.is_failing_after_commit = False
    after = await outcomes(store, instance("e"), instance("f"))
    await store.close()

    assert before + during + after == ["kept"] * 2 + ["StoreUnavailable"] * 2 + ["kept"] * 2
    assert await held_in(path) == instances("a", "b", "e", "f")


async def test_after_an_error_the_file_is_opened_anew(start: Start, disk: Disk) -> None:
    """F4. A connection whose fsync failed believes in pages that the disk never got."""
    store = await start()
    before = disk.connections
    disk.is_failing_after_commit = True
    await outcomes(store, instance("a"))
    disk.is_failing_after_commit = False
    await until_writable(store)

    assert disk.connections > before


async def test_renewals_go_on_while_the_disk_is_full(start: Start, disk: Disk) -> None:
    """F5."""
    store = await start()
    await store.write([Put(instance("a"))])
    disk.is_full = True
    await outcomes(store, BIG)

    assert await store.renew({instance("a").key: 1, instance("b").key: 1}) == {instance("b").key}


async def test_a_full_store_says_so_and_recovers_by_itself(start: Start, disk: Disk) -> None:
    """F5. Nobody has to write for that: a server that calls itself not ready may get no more writes."""
    store = await start()
    disk.is_full = True
    with pytest.raises(StoreFull):
        await store.write([Put(BIG)])
    health = store.health()
    disk.is_full = False
    await until_writable(store)

    assert not health.is_writable
    assert "there is no room left on its disk" in health.text


async def test_a_nearly_full_store_is_not_called_writable_in_between(start: Start, disk: Disk) -> None:
    """Small writes would still fit. Full and not full in turn helps nobody."""
    store = await start()
    disk.is_full = True
    found = await outcomes(store, BIG)
    found += await outcomes(store, instance("small"))

    assert found == ["StoreFull", "StoreFull"]
