"""When a registry seems to have lost nearly everything."""

from __future__ import annotations

import pytest

from facade.registry.store import Put
from facade.stores.mirror import DOUBTED_FOR_S
from tests.stores.examples import instance
from tests.stores.upstream.kept import Kept, fill, several

pytestmark = pytest.mark.anyio


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


# Two registries


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
