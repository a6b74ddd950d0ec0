"""How soon the other nodes show a write, and what a fail-over of Redis costs the writers."""

from __future__ import annotations

import itertools
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from http.client import HTTPException
from typing import NamedTuple

from conformance.peers.redis import Sentinels
from loadtests.cluster_nodes import Nodes, Reader, Run, cluster, instance_path
from loadtests.goals import Row
from loadtests.registrations import eureka_instance
from loadtests.servers import Server

GAP_S, CONVERGED_S = 5, 10
"""From the death of the primary on: until a write is taken again, until all nodes show the same."""
WRITES_EVERY_S = 0.02
TRIES = 5


class _Outage(NamedTuple):
    gap_s: float
    """The longest time without a write that was acknowledged."""
    converged_s: float
    lost: int
    """Writes that were acknowledged and are not shown in the end."""


def visible_ms(servers: Sequence[Server], tries: int, first: int) -> list[float]:
    """Each writes to the next node; the instances have numbers from `first` on."""
    took_ms = []
    with ExitStack() as stack:
        readers = [stack.enter_context(Reader(server)) for server in servers]
        for number in range(first, first + tries):
            writer, *others = readers[number % len(readers) :] + readers[: number % len(readers)]
            began_s = time.perf_counter()
            register(writer, number)
            shown_s = max(other.wait_for(instance_path(number)) for other in others)
            took_ms.append((shown_s - began_s) * 1000)
    return took_ms


def register(writer: Reader, number: int) -> None:
    status = write(writer, number)
    if status != 204:
        raise SystemExit(f"a registration is answered {status}")


def write(writer: Reader, number: int) -> int:
    info = eureka_instance(number)
    return writer.ask("POST", f"/eureka/apps/{info['app']}", json.dumps({"instance": info}))[0]


def failover(run: Run) -> Iterator[Row]:
    """The primary is killed while one client writes. `strict`: an answer means that Redis has it, not that it will."""
    outages = []
    for _ in range(1 if run.is_quick else TRIES):
        with cluster(run, "--when-upstream-fails", "strict", with_sentinels=True) as nodes:
            nodes.fill(100)
            outages.append(_outage(nodes, first=run.large))
    for what, each, goal_s in (
        ("the longest gap between writes", [one.gap_s for one in outages], GAP_S),
        ("all nodes show the same again", [one.converged_s for one in outages], CONVERGED_S),
    ):
        told = f"median {statistics.median(each):.1f}, most {max(each):.1f} s; {len(each)} times"
        yield Row(f"fail-over by sentinel: {what}", told, f"≤ {goal_s} s", max(each) <= goal_s)
    lost = sum(one.lost for one in outages)
    yield Row("… acknowledged writes that are not shown afterwards", f"{lost}", "0", not lost)


def _outage(nodes: Nodes, first: int) -> _Outage:
    assert isinstance(nodes.redis, Sentinels)
    taken: dict[int, float] = {}
    is_over = threading.Event()
    writing = threading.Thread(target=_write_on, args=(nodes.servers[0], first, taken, is_over))
    writing.start()
    try:
        time.sleep(1)
        killed_s = time.perf_counter()
        nodes.redis.primary.kill()
        _until(lambda: max(taken.values()) > killed_s + 0.5, "a write is taken again")
        last = max(taken)
        _until(lambda: all(_shows(server, last) for server in nodes.servers), "all nodes show the last write")
        converged_s = time.perf_counter() - killed_s
        time.sleep(1)
    finally:
        is_over.set()
        writing.join()
    moments_s = sorted(taken.values())
    gap_s = max(later - one for one, later in itertools.pairwise(moments_s))
    lost = sum(not _shows(nodes.servers[1], number) for number in taken)
    return _Outage(gap_s, converged_s, lost)


def _write_on(server: Server, first: int, taken: dict[int, float], is_over: threading.Event) -> None:
    """Notes which were acknowledged, and when."""
    number = first
    while not is_over.is_set():
        with Reader(server) as writer:
            try:
                while not is_over.is_set():
                    number += 1
                    if write(writer, number) == 204:
                        taken[number] = time.perf_counter()
                    time.sleep(WRITES_EVERY_S)
            except (OSError, HTTPException):
                time.sleep(WRITES_EVERY_S)


def _shows(server: Server, number: int) -> bool:
    with Reader(server) as reader:
        return reader.shows(instance_path(number))


def _until(is_so: Callable[[], bool], what: str) -> None:
    give_up_s = time.perf_counter() + 60
    while not is_so():
        if time.perf_counter() > give_up_s:
            raise SystemExit(f"not within a minute: {what}")
        time.sleep(0.01)
