"""Renewals are told in batches."""

from __future__ import annotations

import pytest

from facade.registry.store import Put
from tests.stores.examples import instance
from tests.stores.upstream.kept import Kept, several

pytestmark = pytest.mark.anyio


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


# Two registries


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
