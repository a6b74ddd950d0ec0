"""F9: the primary is gone and a replica takes its place, which may lack the last of what was acknowledged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle

import pytest
from redis.exceptions import RedisError

from conformance.backing.setups import unique_name
from conformance.conftest import RanAgainst
from conformance.eureka.client import Eureka
from conformance.peers.processes import MissingToolError, Processes, Running
from conformance.peers.redis import PRIMARY_NAME, Sentinels, ask
from conformance.peers.redis import until as until_so

from .figures import Report
from .load import Load
from .stage import NODES, Stage, in_thread, start_nodes, until
from .test_faults_redis import all_writable, assert_nobody_registered_anew, key

WAYS = ("killed", "told to", "frozen")


@pytest.fixture
def group(
    processes: Processes, free_port: Callable[[], int], tools: Callable[[MissingToolError], None]
) -> Iterator[Sentinels]:
    """A primary with one replica, and three sentinels."""
    group = Sentinels(processes, free_port)
    try:
        group.start()
    except MissingToolError as missing:
        tools(missing)
    yield group
    for running in (*group.sentinels, *group.servers):
        running.stop()


def promote(group: Sentinels, before: Running) -> None:
    """As an operator says it. Sentinels give up while they take the replica for gone: they are told again."""

    def another() -> bool:
        with suppress(RedisError):
            ask(group.sentinels[0].url, "SENTINEL FAILOVER", PRIMARY_NAME)
        time.sleep(1.0)
        return group.primary.url != before.url

    until_so(another, "the sentinels do as they are told")


@pytest.mark.timeout(1800)
def test_a_replica_is_promoted(
    group: Sentinels,
    processes: Processes,
    free_port: Callable[[], int],
    report: Report,
    is_full: bool,
    ran_against: RanAgainst,
) -> None:
    """Because the primary was killed, because an operator said so, and because it froze and came back as if nothing
    had been."""
    ran_against("cluster, faults", "three nodes of ours over a real primary, a replica and three sentinels")
    nodes = start_nodes(processes, free_port, [group.store] * NODES)
    stage = Stage(nodes, [node.url for node in nodes], report=report)
    took_s: list[str] = []

    async def story(load: Load) -> None:
        for _, way in zip(range(20 if is_full else 2), cycle(WAYS), strict=False):
            before = await in_thread(lambda: group.primary)
            began_s = time.monotonic()
            with load.broken(f"the primary is {way}"):
                if way == "killed":
                    before.kill()
                elif way == "frozen":
                    before.freeze()
                else:
                    await in_thread(promote, group, before)
                await in_thread(group.wait_for_another_primary, before)
                promoted_s = time.monotonic() - began_s
                await all_writable(stage, load)
            took_s.append(f"{way}: promoted {promoted_s:.1f} s, all nodes write {time.monotonic() - began_s:.1f} s")
            if way == "killed":
                await in_thread(group.restart, before)
            elif way == "frozen":
                before.thaw()
            await until(lambda: group.wait_until_settled() is None, load, "the group is whole")
            await load.go_on(2.0)

    load = stage.play(story)

    report.tell("\n".join(took_s))
    for node in nodes:
        node.stop()
    assert_nobody_registered_anew(load)


def test_a_primary_that_does_not_know_that_it_is_none_gets_no_more_writes(
    group: Sentinels, processes: Processes, free_port: Callable[[], int]
) -> None:
    """For some seconds after an operator's fail-over both take writes, and what the old one took is lost with it. Here
    it never hears of it: nobody may tell it whom to follow."""
    (node,) = start_nodes(processes, free_port, [group.store])
    before = group.primary
    ask(before.url, "ACL SETUSER", "default", "-replicaof", "-slaveof")

    promote(group, before)
    after = group.wait_for_another_primary(before)
    Eureka(node.url).given(unique_name().upper())

    def is_written() -> bool:
        return bool(ask(after.url, "HLEN", key("records")))

    until_so(is_written, "the new primary has it")
    assert ask(before.url, "ROLE")[0] == b"master"
    node.stop()
