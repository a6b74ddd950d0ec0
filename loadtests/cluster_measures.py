"""What is measured of nodes that share a Redis, beside one that keeps its registrations itself."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import uvloop

from loadtests.cluster_nodes import NODES, Nodes, Run, cluster, embedded
from loadtests.cluster_outages import visible_ms
from loadtests.goals import Row
from loadtests.limits_registries import EUREKA, hurry, registration, renewal
from loadtests.open_loop import WARM_UP_S, Driven, Stream, drive, percentiles_ms
from loadtests.rounds import STARTS, Measured, Plan, measure
from loadtests.rows import renewals as renewal_lines
from loadtests.servers import Server
from loadtests.work import Work, check
from loadtests.work import run as ask_with_wrk

AS_FAST = 0.9
MOST_COMMANDS = 1 / 20
COUNTS_FROM = 200
"""Renewals a second of a node: below, what a node asks by itself weighs more."""
SEEN_WITHIN_MS = 50


def renewals(run: Run) -> Iterator[Row]:
    """At full speed: of one node at a time, and of three at once; each instance renews several times a second, so
    Redis hears of each as often as it ever can."""
    count, plan = run.middle, Plan(*((2, 1, 4) if run.is_quick else (5, 3, 10)))
    work = Work("renewals", "eureka", renewal_lines(count), (("Accept", "application/json"),))
    with ExitStack() as stack:
        alone = [stack.enter_context(embedded(run, f"embedded {number}")) for number in range(1, NODES + 1)]
        for server in alone:
            with server.awake():
                hurry(server, (registration(EUREKA, number) for number in range(count)))
                check(work, server.name, server.url)
        nodes = stack.enter_context(cluster(run))
        nodes.fill(count)
        for server in nodes.servers:
            check(work, server.name, server.url)
        tasks = [(server, work) for server in (alone[0], *nodes.servers)]
        figures = measure(tasks, plan, run.home, print)
        yield from _rates(figures, alone[0].name)
        yield from _at_once(alone, nodes.servers, work, plan, run)


def _rates(figures: dict[str, Measured], embedded_name: str) -> Iterator[Row]:
    kept = figures[embedded_name]
    yield Row("renewals/s, embedded store", f"{kept.rate:,.0f} ({kept.spread}), {kept.cpu:.1f} µs of CPU each")
    for name, one in figures.items():
        if name != embedded_name:
            ratio = one.rate / kept.rate
            told = f"{one.rate:,.0f} ({one.spread}), {one.cpu:.1f} + {one.store_cpu:.1f} µs; {ratio:.2f} × embedded"
            yield Row(f"renewals/s, {name} alone is asked", told, f"≥ {AS_FAST} ×", ratio >= AS_FAST)


def _at_once(alone: Sequence[Server], nodes: Sequence[Server], work: Work, plan: Plan, run: Run) -> Iterator[Row]:
    rates: dict[str, list[float]] = {"embedded": [], "nodes": []}
    for _ in range(plan.rounds):
        for name, servers in (("embedded", alone), ("nodes", nodes)):
            with ExitStack() as stack:
                for server in servers:
                    stack.enter_context(server.awake())
                with ThreadPoolExecutor(len(servers)) as pool:
                    asked = [
                        pool.submit(ask_with_wrk, work, one.url, plan.seconds, run.home, next(STARTS))
                        for one in servers
                    ]
                    rates[name].append(sum(one.result().a_second for one in asked) / len(servers))
    kept, shared = (statistics.median(rates[name]) for name in ("embedded", "nodes"))
    yield Row(f"renewals/s each, {NODES} of the embedded store on one core at once", f"{kept:,.0f}")
    ratio = shared / kept
    what = f"renewals/s each, {NODES} nodes on one core at once"
    yield Row(what, f"{shared:,.0f}; {ratio:.2f} × embedded", f"≥ {AS_FAST} ×", ratio >= AS_FAST)


def commands(run: Run) -> Iterator[Row]:
    """Whatever the nodes ask of Redis, their own housekeeping too, for each renewal that they answer."""
    seconds, count = (4 if run.is_quick else 20), run.middle
    with cluster(run) as nodes:
        nodes.fill(count)
        for a_second in (COUNTS_FROM // 4, COUNTS_FROM, 5 * COUNTS_FROM):
            before = nodes.commands()
            driven = renew_everywhere(nodes, count, a_second, seconds)
            after = nodes.commands()
            answered = NODES * a_second * (seconds + WARM_UP_S)
            sent, inside = after.sent - before.sent, after.with_those_inside - before.with_those_inside
            each = sent.total() / answered
            most = ", ".join(f"{name} {calls / answered * 1000:.0f}" for name, calls in sent.most_common(3))
            what = f"Redis commands a renewal, {a_second:,}/s on each node"
            has_goal = a_second >= COUNTS_FROM
            told = f"1/{1 / each:.0f} (for 1,000: {most}); {inside / answered:.1f} with those inside functions"
            yield Row(what, told, "≤ 1/20" if has_goal else "", each <= MOST_COMMANDS if has_goal else None)
            errors = sum(one.streams["renewals"].errors for one in driven)
            slowest = max(one.streams["renewals"].p99_ms for one in driven)
            yield Row("… their p99", f"{slowest:.1f} ms; {errors} errors", "no errors", not errors)


def visible(run: Run) -> Iterator[Row]:
    """From sending a registration to one node to holding the answers of both others that show it."""
    tries, count = (50 if run.is_quick else 500), run.middle
    with cluster(run) as nodes:
        nodes.fill(count)
        yield _seen("at rest", visible_ms(nodes.servers, tries, first=10 * run.large))
        seconds = tries * 0.012 + 2
        with ThreadPoolExecutor(1) as pool:
            driving = pool.submit(renew_everywhere, nodes, count, COUNTS_FROM, seconds)
            time.sleep(WARM_UP_S)
            took_ms = visible_ms(nodes.servers, tries, first=11 * run.large)
            driving.result()
        yield _seen(f"beside {COUNTS_FROM} renewals/s on each node", took_ms)


def _seen(when: str, took_ms: Sequence[float]) -> Row:
    p50, p99 = percentiles_ms((one / 1000 for one in took_ms), 0.5, 0.99)
    what = f"a write on one node is visible on both others, {when}"
    told = f"p50 {p50:.1f}, p99 {p99:.1f}, most {max(took_ms):.1f} ms; {len(took_ms)} writes"
    return Row(what, told, f"p99 ≤ {SEEN_WITHIN_MS} ms", p99 <= SEEN_WITHIN_MS)


def renew_everywhere(nodes: Nodes, count: int, a_second: float, seconds: float) -> list[Driven]:
    """An open loop to each node; the instances are shared among them."""

    async def drive_all() -> list[Driven]:
        each = [
            drive(server.url, [Stream("renewals", a_second, _share(number, count))], seconds)
            for number, server in enumerate(nodes.servers)
        ]
        return list(await asyncio.gather(*each))

    return uvloop.run(drive_all())


def _share(node: int, count: int) -> list[bytes]:
    return [renewal(EUREKA, number) for number in range(node, count, NODES)]
