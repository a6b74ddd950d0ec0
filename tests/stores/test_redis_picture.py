"""What a node shows and keeps in mind while Redis is away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from facade.clock import ManualClock
from facade.registry.store import Put, Remove
from facade.stores.redis_picture import Picture, encode
from facade.stores.reunion import Fork, Held, Restored, reunite
from tests.stores.examples import instance

KEY = encode(instance("a").key)
LOST = Fork(0, (), {}, is_whole=False)
"""Of a Redis that has come back empty."""


@given(st.lists(st.booleans(), min_size=1, max_size=5))
def test_an_end_that_waited_ends_whatever_came_through_before_it_also_when_that_comes_back_later(
    writes: list[bool],
) -> None:
    """Redis has nothing of it when we come back; a node that had heard a write without an answer comes after us."""
    picture = Picture(ManualClock(), "us")
    for number, is_put in enumerate((True, *writes, False)):
        record = instance("a", host=f"h{number}.example")
        picture.take_here([Put(record) if is_put else Remove(record.key)])
    came_through = [instance("a", host=f"h{number}.example") for number, put in enumerate((True, *writes)) if put]

    plan = reunite(picture.held, {}, LOST, picture.ended, picture.waiting, picture.bases)
    picture.forget(KEY)

    assert not plan.told
    for record in came_through:
        again = reunite(picture.held, {KEY: Held(record, 99)}, LOST, picture.ended, {}, {})
        assert again.restored == {KEY: Restored(None, 99)}
