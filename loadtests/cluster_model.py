"""What a renewal, a change and an instance cost a node and Redis; what a fleet would, from these; and whether it does.

In:   a cluster that is asked for one thing at a time, so that each has a price.
Out:  the prices; and for fleets of two sizes, what the model of docs/scaling.md says beside what was measured of them,
      how soon another node joins, and how soon a Redis that has lost all has all again.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import uvloop

from loadtests.cluster_nodes import NODES, Nodes, Run, cluster, instance_path
from loadtests.goals import Row
from loadtests.limits_registries import EUREKA, hurry, registration, renewal
from loadtests.open_loop import WARM_UP_S, Stream, drive
from loadtests.servers import Server

RENEWED_EVERY_S = 30
CHANGES = 10
"""A second, in the fleets that are measured: a rolling deployment is more, a quiet day is less."""
FEW_RENEWALS, MANY_RENEWALS, CHANGES_FOR_PRICE = 100, 1_000, 50
"""A second: enough to be seen, little enough that most answers are woken for by themselves, as in a fleet."""

STARTS, STARTS_WITHIN_S = 3, 10
LOSSES, FILLED_WITHIN_S = 3, 5
SETTLED_AFTER_S = 3
BLOCKED_AT_MOST_MS = 50
"""By one command that puts records back: all nodes wait for Redis meanwhile."""


class Spent(NamedTuple):
    """CPU seconds a second."""

    node: float
    """Of those that are asked, each."""
    other: float
    """Of those that are not."""
    redis: float


class Prices(NamedTuple):
    """Microseconds of CPU; bytes of memory."""

    idle: Spent
    telling: Spent
    """As soon as some renew: ten batches a second go to Redis, however much is in them."""
    renewal_node_us: float
    """Of each more of them."""
    renewal_redis_us: float
    change_writer_us: float
    change_follower_us: float
    change_redis_us: float
    node_bytes: float
    redis_bytes: float
    stream_bytes: float
    """Of one entry."""

    def node_share(self, instances: int, changes: float, nodes: int = NODES) -> float:
        """Of a core; mean of all nodes. Reads come on top: they cost what they cost any server of ours."""
        renewals = instances / RENEWED_EVERY_S / nodes
        written = changes / nodes
        changed = written * self.change_writer_us + (changes - written) * self.change_follower_us
        return self.idle.node + self.telling.node + (renewals * self.renewal_node_us + changed) / 1e6

    def redis_share(self, instances: int, changes: float, nodes: int = NODES) -> float:
        renewals = instances / RENEWED_EVERY_S
        # Followers read each change: what Redis pays for that grows with the nodes.
        changed = changes * self.change_redis_us * (1 + nodes) / (1 + NODES)
        fixed = self.idle.redis * nodes / NODES + self.telling.redis * nodes
        return fixed + (renewals * self.renewal_redis_us + changed) / 1e6


def fleets(run: Run) -> Iterator[Row]:
    prices = yield from _prices(run)
    for count in (run.middle, run.large):
        yield from _compared(run, count, prices)
    for count, nodes, changes in ((10_000, 3, 10.0), (100_000, 3, 100.0), (1_000_000, 4, 1_000.0)):
        shares = prices.node_share(count, changes, nodes), prices.redis_share(count, changes, nodes)
        told = (
            f"node {shares[0]:.1%}, Redis {shares[1]:.1%} of a core; "
            f"node {_size(prices.node_bytes * count)}, Redis {_size(prices.redis_bytes * count)}"
        )
        yield Row(f"by the model: {count:,} instances, {nodes} nodes, {changes:,.0f} changes/s, without reads", told)


def _prices(run: Run) -> Iterator[Row]:
    count, seconds = run.middle, 5 if run.is_quick else 20
    with cluster(run) as nodes:
        empty_node, empty_redis = nodes.servers[0].rss_bytes(), nodes.redis_bytes()
        nodes.fill(count)
        stream_bytes, entries = nodes.stream_bytes()
        redis_bytes = (nodes.redis_bytes() - empty_redis - stream_bytes) / count
        node_bytes = (nodes.servers[1].rss_bytes() - empty_node) / count
        idle = _spent(nodes, [], seconds)
        first = nodes.servers[:1]
        renewals = [renewal(EUREKA, number) for number in range(count)]
        hurry(first[0], renewals)  # from its second time on, all day long, the head of each is known
        few, many = (
            _spent(nodes, [Stream("renewals", rate, renewals)], seconds, first)
            for rate in (FEW_RENEWALS, MANY_RENEWALS)
        )
        changing = [Stream("changes", CHANGES_FOR_PRICE, _changes(count, CHANGES_FOR_PRICE, seconds), status=204)]
        changed = _spent(nodes, changing, seconds, first)
    a_renewal, a_change = 1e6 / (MANY_RENEWALS - FEW_RENEWALS), 1e6 / CHANGES_FOR_PRICE
    node_us, redis_us = (many.node - few.node) * a_renewal, (many.redis - few.redis) * a_renewal
    telling = Spent(
        few.node - idle.node - FEW_RENEWALS * node_us / 1e6,
        0.0,
        few.redis - idle.redis - FEW_RENEWALS * redis_us / 1e6,
    )
    prices = Prices(
        idle,
        telling,
        renewal_node_us=node_us,
        renewal_redis_us=redis_us,
        change_writer_us=(changed.node - idle.node) * a_change,
        change_follower_us=(changed.other - idle.other) * a_change,
        change_redis_us=(changed.redis - idle.redis) * a_change,
        node_bytes=node_bytes,
        redis_bytes=redis_bytes,
        stream_bytes=stream_bytes / max(entries, 1),
    )
    yield Row("idle, of a core", f"a node {idle.node:.2%}, Redis {idle.redis:.2%}")
    yield Row("telling of renewals, of a core", f"a node {telling.node:.2%}, Redis {telling.redis:.2%} for each node")
    yield Row("each renewal", f"{node_us:.0f} µs of the node's CPU, {redis_us:.1f} µs of Redis'")
    told = (
        f"{prices.change_writer_us:.0f} µs of the node that writes, {prices.change_follower_us:.0f} µs of each other, "
        f"{prices.change_redis_us:.0f} µs of Redis'"
    )
    yield Row(f"a change, on {NODES} nodes", told)
    told = f"{node_bytes / 1024:.1f} KB of a node's memory, {redis_bytes / 1024:.1f} KB of Redis'"
    yield Row(f"an instance, of {count:,}", told)
    yield Row("an entry of the stream", f"{prices.stream_bytes / 1024:.1f} KB of Redis' memory, of {entries:,}")
    return prices


def _compared(run: Run, count: int, prices: Prices) -> Iterator[Row]:
    """A fleet that renews as it does, at all nodes, with some changes."""
    seconds = 5 if run.is_quick else 30
    with cluster(run) as nodes:
        empty_node, empty_redis = nodes.servers[0].rss_bytes(), nodes.redis_bytes()
        nodes.fill(count)
        stream_bytes, _ = nodes.stream_bytes()
        memory = (nodes.servers[1].rss_bytes() - empty_node, nodes.redis_bytes() - empty_redis - stream_bytes)
        renewals = [renewal(EUREKA, one) for one in range(count)]
        for server in nodes.servers:
            hurry(server, renewals)
        renewing = Stream("renewals", count / RENEWED_EVERY_S / NODES, renewals)
        a_node = CHANGES / NODES
        changing = Stream("changes", a_node, _changes(count, a_node, seconds), status=204)
        spent = _spent(nodes, [renewing, changing], seconds)
        yield _start(nodes, count)
        yield from _filled_again(nodes, count)
    what = f"{count:,} instances, {CHANGES} changes/s on {NODES} nodes"
    wanted = prices.node_share(count, CHANGES), prices.redis_share(count, CHANGES)
    yield Row(f"{what}: a node's CPU", f"{spent.node:.1%} of a core; the model says {wanted[0]:.1%}")
    yield Row("… Redis' CPU", f"{spent.redis:.1%}; the model says {wanted[1]:.1%}")
    yield Row("… a node's memory", f"{_size(memory[0])}; the model says {_size(prices.node_bytes * count)}")
    yield Row("… Redis' memory, without the stream", f"{_size(memory[1])}; {_size(prices.redis_bytes * count)}")
    yield Row("… the stream", _size(stream_bytes))


def _start(nodes: Nodes, count: int) -> Row:
    """Until another node lists the instance that was registered last."""
    took_s = []
    for _ in range(1 if nodes.run.is_quick else STARTS):
        with nodes.another(instance_path(count - 1)) as server:
            took_s.append(server.ready_s)
    told = f"{statistics.median(took_s):.2f} s ({min(took_s):.2f}-{max(took_s):.2f})"
    is_met = statistics.median(took_s) <= STARTS_WITHIN_S
    return Row(f"start of a node, {count:,} instances in Redis", told, f"≤ {STARTS_WITHIN_S} s", is_met)


def _filled_again(nodes: Nodes, count: int) -> Iterator[Row]:
    """From the loss of all on, which a node has to notice first, until Redis holds all instances."""
    took_s, blocked_ms = [], []
    for _ in range(1 if nodes.run.is_quick else LOSSES):
        took_s.append(nodes.lose_all(count))
        blocked_ms.append(nodes.longest_script_ms())
        time.sleep(SETTLED_AFTER_S)  # the other nodes compare what they hold
    told = f"{statistics.median(took_s):.2f} s ({min(took_s):.2f}-{max(took_s):.2f})"
    is_met = statistics.median(took_s) <= FILLED_WITHIN_S
    yield Row(f"Redis comes back empty: {count:,} instances are there again", told, f"≤ {FILLED_WITHIN_S} s", is_met)
    longest = statistics.median(blocked_ms)
    goal = f"≤ {BLOCKED_AT_MOST_MS} ms"
    yield Row("… the longest that Redis answers nobody else", f"{longest:.0f} ms", goal, longest <= BLOCKED_AT_MOST_MS)


def _spent(nodes: Nodes, streams: Sequence[Stream], seconds: float, asked: Sequence[Server] = ()) -> Spent:
    """What the servers use while some of them (all, if none is named) are asked."""
    asked = asked or nodes.servers
    others = [server for server in nodes.servers if server not in asked]
    each = [*nodes.servers, nodes.store]
    before, began_s = [server.cpu_s() for server in each], time.perf_counter()

    async def drive_all() -> None:
        if not streams:
            await asyncio.sleep(seconds)
        driven = await asyncio.gather(*(drive(server.url, streams, seconds) for server in asked if streams))
        for one in (stream for driving in driven for stream in driving.streams.values()):
            if one.errors:
                raise SystemExit(f"{one.errors} of {one.requests} {one.name} were not answered well")

    uvloop.run(drive_all())
    took_s = seconds + WARM_UP_S if streams else time.perf_counter() - began_s
    used = {id(server): (server.cpu_s() - s) / took_s for server, s in zip(each, before, strict=True)}
    mean_other = sum(used[id(server)] for server in others) / len(others) if others else 0.0
    mean_asked = sum(used[id(server)] for server in asked) / len(asked)
    return Spent(mean_asked, mean_other or mean_asked, used[id(each[-1])])


def _changes(count: int, a_second: float, seconds: float) -> list[bytes]:
    """Each instance with other metadata than before, every time."""
    return [
        registration(EUREKA, one % count, version=1 + one // count) for one in range(int(a_second * (seconds + 2)) + 1)
    ]


def _size(size: float) -> str:
    return f"{size / 2**20:,.0f} MB" if size < 2**30 else f"{size / 2**30:.1f} GB"
