"""The shard of a cluster that holds our keys is gone, and its replica takes its place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle

import pytest
from redis.exceptions import RedisError

from conformance.conftest import RanAgainst
from conformance.peers.processes import MissingToolError, Processes, Running
from conformance.peers.redis import ask
from conformance.peers.redis import until as until_so
from conformance.peers.redis_shards import Shards

from .figures import Report
from .load import Load
from .stage import NODES, Stage, in_thread, start_nodes, until
from .test_faults_redis import all_writable, assert_nobody_registered_anew, key

WAYS = ("killed", "told to", "frozen")


@pytest.fixture
def shards(
    processes: Processes, free_port: Callable[[], int], tools: Callable[[MissingToolError], None]
) -> Iterator[Shards]:
    """Three primaries, and a replica of the one with our keys."""
    shards = Shards(processes, free_port)
    try:
        shards.start()
    except MissingToolError as missing:
        tools(missing)
    shards.add_replica(shards.holder(key("records")))
    yield shards
    for running in shards.servers:
        running.stop()


def promote(shards: Shards, before: Running) -> None:
    """As an operator says it, to the replica. It refuses while it is not in step."""
    (replica,) = (server for server in shards.servers if ask(server.url, "ROLE")[0] == b"slave")

    def another() -> bool:
        with suppress(RedisError):
            ask(replica.url, "CLUSTER FAILOVER")
        time.sleep(1.0)
        return shards.holder(key("records")).url != before.url

    until_so(another, "the replica does as it is told")


@pytest.mark.timeout(1800)
def test_the_replica_of_our_shard_is_promoted(
    shards: Shards,
    processes: Processes,
    free_port: Callable[[], int],
    report: Report,
    is_full: bool,
    ran_against: RanAgainst,
) -> None:
    """As under sentinels: it may lack the last of what was acknowledged, and gets that back from the nodes."""
    ran_against("cluster, faults", "three nodes of ours over a real cluster of three shards, one with a replica")
    nodes = start_nodes(processes, free_port, [shards.store] * NODES)
    stage = Stage(nodes, [node.url for node in nodes], report=report)
    took_s: list[str] = []

    async def story(load: Load) -> None:
        for _, way in zip(range(12 if is_full else 1), cycle(WAYS), strict=False):
            before = await in_thread(shards.holder, key("records"))
            began_s = time.monotonic()
            with load.broken(f"the primary of our shard is {way}"):
                if way == "killed":
                    before.kill()
                elif way == "frozen":
                    before.freeze()
                else:
                    await in_thread(promote, shards, before)
                await in_thread(shards.wait_for_another_holder, key("records"), before)
                promoted_s = time.monotonic() - began_s
                await all_writable(stage, load)
            took_s.append(f"{way}: promoted {promoted_s:.1f} s, all nodes write {time.monotonic() - began_s:.1f} s")
            if way == "killed":
                await in_thread(shards.restart, before)
            elif way == "frozen":
                before.thaw()
            await until(lambda: shards.wait_until_settled() is None, load, "the cluster is whole")
            await load.go_on(2.0)

    load = stage.play(story)

    report.tell("\n".join(took_s))
    for node in nodes:
        node.stop()
    assert_nobody_registered_anew(load)
