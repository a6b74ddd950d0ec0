"""What waits for a peer: each thing once, as it is when it is told, and nobody in the way of others."""

from __future__ import annotations

from typing import Any

import pytest

from facade.clock import ManualClock
from facade.eureka import mapping, replication, wire_json
from facade.eureka.replication import CANCEL, HEARTBEAT, OVERRIDE, REGISTER, Waiting
from facade.registry import rules
from facade.registry.model import InstanceKey, Origin, Space, Status
from facade.registry.registry import Registry
from tests.eureka.registrations import body

pytestmark = pytest.mark.anyio


def key(instance_id: str = "i1", app: str = "A") -> InstanceKey:
    return InstanceKey(Origin.EUREKA, Space(), app, instance_id)


async def hold(registry: Registry, instance_id: str = "i1", **changes: Any) -> None:
    info = wire_json.decode_registration(body("A", instance_id, **changes))
    await registry.register(mapping.to_instance(info, Space(), registry.policy, registry.clock.now_ms()))


@pytest.fixture
def waiting(registry: Registry) -> Waiting:
    return Waiting(registry.catalogue, registry.clock)


def told(waiting: Waiting) -> list[tuple[str | None, str | None]]:
    return [(item.action, item.instance_id) for item in waiting.take().items]


@pytest.mark.parametrize(
    ("happened", "is_held", "expected"),
    [
        ([HEARTBEAT, HEARTBEAT], True, ["Heartbeat"]),
        ([REGISTER, HEARTBEAT], True, ["Register"]),
        ([HEARTBEAT, REGISTER], True, ["Register"]),
        ([REGISTER, HEARTBEAT, CANCEL], False, ["Cancel"]),
        ([CANCEL, REGISTER], True, ["Cancel", "Register"]),
        ([REGISTER, CANCEL, REGISTER, CANCEL], False, ["Cancel"]),
        ([REGISTER, OVERRIDE, REGISTER], True, ["DeleteStatusOverride", "Register"]),
        ([CANCEL], True, []),  # a peer has registered it with us meanwhile
        ([HEARTBEAT], False, []),
        ([REGISTER, OVERRIDE], False, []),
    ],
)
async def test_what_is_told(
    registry: Registry, waiting: Waiting, happened: list[str], is_held: bool, expected: list[str]
) -> None:
    if is_held:
        await hold(registry)
    for action in happened:
        waiting.add(key(), action)

    assert [action for action, _ in told(waiting)] == expected
    assert len(waiting) == 0


async def test_items_carry_what_the_original_sends(registry: Registry, waiting: Waiting) -> None:
    await hold(registry, lastDirtyTimestamp="1000")
    await registry.amend(key(), lambda it: rules.overridden(it, Status.OUT_OF_SERVICE))
    for action in (OVERRIDE, HEARTBEAT):
        waiting.add(key(), action)
    waiting.add(key("gone"), CANCEL)

    override, heartbeat, cancel = waiting.take().items

    assert (override.action, override.status, override.last_dirty_ms) == ("StatusUpdate", "OUT_OF_SERVICE", 1000)
    assert override.overridden_status is Status.UNKNOWN
    assert (heartbeat.status, heartbeat.overridden_status) == ("OUT_OF_SERVICE", "OUT_OF_SERVICE")
    assert heartbeat.instance_info is None
    assert (cancel.app_name, cancel.status, cancel.last_dirty_ms) == ("A", None, None)


async def test_nobody_who_renews_fast_holds_up_others(registry: Registry, waiting: Waiting) -> None:
    for instance_id in ("fast", "other"):
        await hold(registry, instance_id)
    for instance_id in ("fast", "other", "fast", "fast"):
        waiting.add(key(instance_id), HEARTBEAT)

    assert told(waiting) == [("Heartbeat", "fast"), ("Heartbeat", "other")]


async def test_what_was_not_told_comes_first_with_what_happened_since_on_top(
    registry: Registry, waiting: Waiting
) -> None:
    for instance_id in ("i1", "i2", "i3"):
        await hold(registry, instance_id)
    waiting.add(key("i1"), HEARTBEAT)
    waiting.add(key("i2"), HEARTBEAT)
    taken = waiting.take()
    waiting.add(key("i3"), HEARTBEAT)
    waiting.add(key("i1"), REGISTER)

    waiting.put_back(taken)

    assert told(waiting) == [("Register", "i1"), ("Heartbeat", "i2"), ("Heartbeat", "i3")]


async def test_an_old_cancellation_is_told_no_more(clock: ManualClock, waiting: Waiting) -> None:
    waiting.add(key(), CANCEL)
    clock.advance(replication.CANCEL_KEPT_S + 1)

    assert waiting.age_s == pytest.approx(replication.CANCEL_KEPT_S + 1)
    assert told(waiting) == []


async def test_a_batch_is_as_long_as_the_original_sends(registry: Registry, waiting: Waiting) -> None:
    for number in range(300):
        await hold(registry, f"i{number}")
        for action in (OVERRIDE, HEARTBEAT):
            waiting.add(key(f"i{number}"), action)

    assert 240 < len(told(waiting)) <= replication.BATCH
    assert len(waiting) == 300 - 124


async def test_a_peer_that_never_comes_back_costs_no_more_than_so_much(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication, "MOST_WAITING", 3)
    for number in range(5):
        waiting.add(key(f"i{number}"), CANCEL)

    assert told(waiting) == [("Cancel", "i2"), ("Cancel", "i3"), ("Cancel", "i4")]


async def test_testing_is_a_word_that_eureka_does_not_know(registry: Registry, waiting: Waiting) -> None:
    await hold(registry)
    await registry.amend(key(), lambda it: rules.overridden(it, Status.TESTING))
    for action in (OVERRIDE, HEARTBEAT):
        waiting.add(key(), action)

    assert b"TESTING" not in wire_json.encode_batch(waiting.take().items)
