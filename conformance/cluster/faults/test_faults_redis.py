"""Redis dies, freezes, forgets or refuses: clients of three nodes notice nothing but the age of what they read."""

from __future__ import annotations

import random

import pytest

from conformance.backing.setups import soon, unique_name
from conformance.eureka.client import Eureka
from conformance.peers.processes import Processes

from .figures import registered_anew
from .load import Load
from .stage import CLUSTER, Stage, in_thread, until

OUTAGES_S = (0.5, 3.0)
"""Between a kill of Redis and its return, when it is killed often."""
ADMITS_AGE_AFTER_S = 4.0
MAY_HAVE_LEFT = 6
"""Records fewer than before, while the restless leave and return."""


def key(name: str) -> str:
    return f"{{{CLUSTER}}}:{name}"


def assert_nobody_registered_anew(load: Load) -> None:
    """A renewal of who has not left is never answered with: unknown."""
    assert registered_anew(load.log) == 0


def writable(stage: Stage, node: int) -> bool:
    return bool(stage.readiness(node)["store"]["writable"])


async def all_writable(stage: Stage, load: Load) -> float:
    """Until every node has Redis again. Returns how long that took."""
    nodes = range(len(stage.nodes))
    return await until(lambda: all(writable(stage, node) for node in nodes), load, "all nodes have Redis again")


@pytest.mark.timeout(1200)
def test_redis_is_killed_and_restarted(stage: Stage, processes: Processes, is_full: bool) -> None:
    """F7. With AOF everysec it loses up to the last second of what it had acknowledged; the nodes give it back."""

    async def story(load: Load) -> None:
        for _ in range(50 if is_full else 2):
            assert stage.redis is not None
            with load.broken("Redis is away"):
                stage.redis.kill()
                await load.go_on(random.uniform(*OUTAGES_S))
                stage.redis = await in_thread(processes.restart, stage.redis)
                await all_writable(stage, load)
            await load.go_on(2.0)

    load = stage.play(story)

    assert_nobody_registered_anew(load)


@pytest.mark.timeout(1200)
def test_redis_is_away_for_longer_than_leases_last(stage: Stage, processes: Processes, is_full: bool) -> None:
    """F7, promises 2 and 4: nobody is evicted meanwhile nor afterwards, and what is shown says its age."""

    async def story(load: Load) -> None:
        assert stage.redis is not None
        with load.broken("Redis is away"):
            stage.redis.kill()
            await load.go_on(60.0 if is_full else 11.0)
            stage.redis = await in_thread(processes.restart, stage.redis)
            await all_writable(stage, load)
        await load.go_on(25.0 if is_full else 4.0)

    load = stage.play(story)

    assert_nobody_registered_anew(load)
    for node in range(len(stage.nodes)):
        assert max(look.age_s for look in load.log.looks if look.node == node) > ADMITS_AGE_AFTER_S


@pytest.mark.timeout(1200)
def test_redis_is_emptied(stage: Stage, is_full: bool) -> None:
    """F8. The nodes fill it again from memory, and no reader sees a shorter list."""
    took_s: list[float] = []

    async def story(load: Load) -> None:
        for _ in range(20 if is_full else 2):
            before = stage.ask_redis("HLEN", key("records"))
            with load.broken("Redis was emptied"):
                stage.ask_redis("FLUSHALL")
                took_s.append(
                    await until(
                        lambda before=before: stage.ask_redis("HLEN", key("records")) >= before - MAY_HAVE_LEFT,
                        load,
                        "the records are back",
                    )
                )
            await load.go_on(2.0)

    load = stage.play(story)

    stage.report.tell(f"filled again after {', '.join(f'{one:.1f}' for one in took_s)} s")
    assert_nobody_registered_anew(load)


@pytest.mark.timeout(1200)
def test_redis_comes_back_empty(stage: Stage, processes: Processes, is_full: bool) -> None:
    """F8, as after the loss of its disk."""

    async def story(load: Load) -> None:
        for _ in range(5 if is_full else 1):
            assert stage.redis is not None
            with load.broken("Redis is away"):
                stage.redis.kill()
                for file in stage.redis.directory.glob("appendonlydir/*"):
                    file.unlink()
                await load.go_on(2.0)
                stage.redis = await in_thread(processes.restart, stage.redis)
                await all_writable(stage, load)
            await load.go_on(3.0)

    load = stage.play(story)

    assert_nobody_registered_anew(load)


@pytest.mark.timeout(1200)
def test_redis_is_frozen(stage: Stage, is_full: bool) -> None:
    """Its connections stay open and nothing comes over them, until it goes on as if nothing had been."""

    async def story(load: Load) -> None:
        assert stage.redis is not None
        with load.broken("Redis is frozen"):
            stage.redis.freeze()
            try:
                await load.go_on(120.0 if is_full else 6.0)
            finally:
                stage.redis.thaw()
            await all_writable(stage, load)
        await load.go_on(3.0)

    load = stage.play(story)

    assert_nobody_registered_anew(load)


@pytest.mark.timeout(1200)
def test_redis_is_out_of_memory(stage: Stage, is_full: bool) -> None:
    """Registrations are refused and say why; renewals and cancellations go on."""

    async def story(load: Load) -> None:
        leaving = [client for client in load.fleet.clients if not client.is_restless][::8]
        with load.broken("Redis is full"):
            stage.ask_redis("CONFIG SET", "maxmemory", 1)
            try:
                await until(lambda: not writable(stage, 0), load, "a node says that it is full")
                told = stage.readiness(0)["store"]["text"]
                for client in leaving:
                    client.is_leaving = True
                await load.go_on(30.0 if is_full else 5.0)
                assert not any(client.is_registered for client in leaving)
            finally:
                stage.ask_redis("CONFIG SET", "maxmemory", 0)
            stage.report.tell(told)
            assert "out of memory" in told
        await all_writable(stage, load)

    load = stage.play(story)

    assert_nobody_registered_anew(load)
    refusals = {(op.code, op.text) for op in load.log.ops if op.code >= 500}
    stage.report.tell(f"refused with {sorted(refusals)}")
    # Eureka's clients read no bodies of refusals; the status tells them.
    assert {code for code, _ in refusals} <= {500, 507}
    assert any("out of memory" in text for _, text in refusals)


@pytest.mark.timeout(1200)
def test_redis_becomes_a_replica_of_nothing(stage: Stage, is_full: bool) -> None:
    """READONLY, as after a fail-over that nobody told us of: its data is there, and it takes no writes."""

    async def story(load: Load) -> None:
        for _ in range(10 if is_full else 1):
            with load.broken("Redis is a replica"):
                stage.ask_redis("REPLICAOF", "127.0.0.1", 1)
                await load.go_on(4.0)
                stage.ask_redis("REPLICAOF", "NO", "ONE")
                await all_writable(stage, load)
            await load.go_on(2.0)

    load = stage.play(story)

    assert_nobody_registered_anew(load)


@pytest.mark.timeout(300)
def test_the_password_changes_while_we_run(stage: Stage) -> None:
    """It is said what is wrong, and what is known is served on."""
    told: list[str] = []

    async def story(load: Load) -> None:
        with load.broken("the password is another"):
            stage.ask_redis("CONFIG SET", "requirepass", "another")
            try:
                stage.ask_redis_as("another", "CLIENT", "KILL", "TYPE", "normal")
                await load.go_on(4.0)
                told.extend(stage.readiness(node)["store"]["text"] for node in range(len(stage.nodes)))
            finally:
                stage.ask_redis_as("another", "CONFIG SET", "requirepass", "")
            await all_writable(stage, load)
        await load.go_on(2.0)

    load = stage.play(story)

    stage.report.tell(told[0])
    assert all("NOAUTH" in text or "uthenticat" in text for text in told), told
    assert_nobody_registered_anew(load)


def test_leases_that_are_lost_begin_anew(stage: Stage) -> None:
    """Also those of instances that do not renew any more: else they would be listed for ever."""
    node = Eureka(stage.urls[0])
    node.given(unique_name().upper(), leaseInfo={"durationInSecs": 3600})
    node.disconnect()
    assert stage.ask_redis("DEL", key("leases")) == 1

    def each_has_one() -> None:
        assert 0 < stage.ask_redis("HLEN", key("heard")) == stage.ask_redis("ZCARD", key("leases"))

    soon(each_has_one)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["records", "log", "leases", "meta"])
def test_a_key_of_ours_is_overwritten_with_another_type(stage: Stage, name: str, is_full: bool) -> None:
    """Nothing of ours is to be had there until somebody removes it; then it is as if Redis had come back empty."""
    if name != "records" and not is_full:
        pytest.skip("other keys: --faults full")

    async def story(load: Load) -> None:
        with load.broken(f"{name} is another's"):
            stage.ask_redis("SET", key(name), "another's")
            await load.go_on(4.0)
            stage.report.tell(stage.readiness(0)["store"]["text"])
            stage.ask_redis("DEL", key(name))
            await all_writable(stage, load)
        await load.go_on(3.0)

    load = stage.play(story)

    assert_nobody_registered_anew(load)
