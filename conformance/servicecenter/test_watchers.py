"""F20: every watcher sees each change in order, or is told to list again; then it knows what there is.

    pytest conformance/servicecenter/test_watchers.py --changes 10000      200 watchers, the large form

Ours alone: the original tells of changes in batches, and of what a slow reader has not taken in it drops what it likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest

from conformance.conftest import StartOurs
from conformance.peers.processes import Processes, Program, facade

from .asking import ServiceCenter, unique
from .crowds import Changes, Watcher, all_know

WATCHERS = 200
INSTANCES = 10
IDLE_S = 60.0
"""Who has learnt nothing new for so long will never know all."""
LARGE_EVENT = 48 * 1024
"""Bytes of padding: with 1,000 events in a queue and 4 MB in the system's, a reader that sleeps falls behind soon."""
FALLS_BEHIND_AFTER = 1_300


@pytest.fixture
def changes(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--changes"))


@pytest.fixture
def lasting(servicecenter_kind: str, free_port: Callable[[], int], tmp_path: Path) -> Program:
    """A server that keeps its data when it is started again."""
    if servicecenter_kind == "real":
        pytest.skip("the original drops events")
    return facade([free_port()], stores=[f"sqlite:///{tmp_path}/registry.db"])


def _provided(sc: ServiceCenter) -> tuple[str, str, list[str]]:
    """A consumer that depends on a provider, and the provider's instances."""
    app = unique("app")
    consumer, provider = sc.create_service(app, "cons"), sc.create_service(app, "prov")
    instances = [sc.register(provider, instanceId=f"i{number}", properties={"n": "0"}) for number in range(INSTANCES)]
    sc.find(app, "prov", consumer=consumer)
    return consumer, provider, instances


def _assert_nothing_amiss(watchers: Sequence[Watcher]) -> None:
    faults = [fault for watcher in watchers for fault in watcher.faults]
    assert not faults, f"{len(faults)} events were not the next: {faults[:3]}"


@pytest.mark.timeout(1800)
def test_each_change_is_told_in_order_over_a_restart(processes: Processes, lasting: Program, changes: int) -> None:
    """Half of the changes, a restart, the other half: whoever fell lists again, and nobody misses anything."""
    server = processes.start(lasting)
    consumer, provider, instances = _provided(ServiceCenter(server.url))
    watchers = [Watcher(server.url, consumer, provider) for _ in range(WATCHERS)]
    made = Changes(server.url, provider, instances)

    async def story() -> None:
        async with httpx.AsyncClient() as http:
            tasks = [asyncio.create_task(watcher.run(http)) for watcher in watchers]
            await all_know(watchers, made.made, IDLE_S)
            await made.make(http, changes // 2)
            await all_know(watchers, made.made, IDLE_S)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(processes.start, lasting)
            await made.make(http, changes - changes // 2)
            await all_know(watchers, made.made, IDLE_S)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(story())

    _assert_nothing_amiss(watchers)
    assert all(watcher.listed >= 2 for watcher in watchers)
    assert sum(watcher.events for watcher in watchers) > 0


def test_a_reader_that_falls_behind_is_dropped_and_lists_again(servicecenter_kind: str, start_ours: StartOurs) -> None:
    """What it was sent until then is whole: there is no gap, but an end. The others do not notice."""
    if servicecenter_kind == "real":
        pytest.skip("the original drops events")
    server = start_ours()
    consumer, provider, instances = _provided(ServiceCenter(server.url))
    slow = [Watcher(server.url, consumer, provider, sleeps=True) for _ in range(2)]
    quick = [Watcher(server.url, consumer, provider) for _ in range(3)]
    made = Changes(server.url, provider, instances[:2], padding="x" * LARGE_EVENT)

    async def story() -> None:
        async with httpx.AsyncClient() as http:
            tasks = [asyncio.create_task(watcher.run(http)) for watcher in (*slow, *quick)]
            others = dict.fromkeys(instances[2:], 0)
            await all_know([*slow, *quick], made.made | others, IDLE_S)
            await made.make(http, FALLS_BEHIND_AFTER)
            known = made.made | others
            await all_know(quick, known, IDLE_S)
            for watcher in slow:
                watcher.awake.set()
            await all_know(slow, known, IDLE_S)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(story())

    _assert_nothing_amiss([*slow, *quick])
    assert [watcher.listed for watcher in quick] == [1, 1, 1]
    assert [(watcher.listed, len(watcher.ends)) for watcher in slow] == [(2, 1), (2, 1)]
    # The connection falls: the Java client takes a close for a farewell. Who answers no pings meanwhile hears 1011.
    assert {end for watcher in slow for end in watcher.ends} <= {None, 1011}
    assert all(0 < watcher.events < FALLS_BEHIND_AFTER for watcher in slow)
