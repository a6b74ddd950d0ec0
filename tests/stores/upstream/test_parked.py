"""Instances of the other protocol that are not taken there."""

from __future__ import annotations

import pytest

from facade.errors import UpstreamRefused
from facade.registry.model import InstanceKey, Origin, Space
from facade.registry.store import Put, Remove
from facade.stores import outward
from tests.stores.examples import instance
from tests.stores.upstream.kept import Kept, fill

pytestmark = pytest.mark.anyio


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


# Two registries


async def test_a_parked_instance_that_arrived_there_after_all_is_ended_there(kept: Kept) -> None:
    kept.behind.room = 100
    large = instance("large", metadata={"k": "v" * 200})
    await kept.store.write([Put(large)])
    fill(kept.behind, large)
    await kept.store.write([Remove(large.key)])

    assert kept.behind.records == {}
