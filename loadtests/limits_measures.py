"""What is measured of one server at rest, at full speed and under an open loop. Each yields its rows."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from urllib.parse import urlsplit

import uvloop

from loadtests.goals import Row
from loadtests.limits_registries import (
    AS_JSON,
    AS_XML,
    BASE,
    DELTA,
    EUREKA,
    FULL,
    GZIPPED,
    SERVICECENTER,
    Registries,
    hurry,
    registration,
    renewal,
    service,
)
from loadtests.open_loop import BUSY_SHARE, LATE_MS, Answered, Driven, Stream, ask_all, drive, request
from loadtests.registrations import service_name
from loadtests.servers import Server

TIMES = 3
SAME = 1.25
"""The same, but for cache misses."""
WIDE = 1_000
"""Instances of the largest application."""
WIDE_FROM = 500_000
"""The first number of its instances; nobody else has such."""
BATCH = 1_000


def starts(registries: Registries) -> Iterator[Row]:
    most_s = {registries.middle: 2.0, registries.large: 10.0}
    homes = {0: registries.new_home()} | {count: registries.copy(EUREKA, count) for count in most_s}
    times = 1 if registries.is_quick else TIMES
    for count, home in homes.items():
        if not count:
            with registries.over(home):
                pass  # the very first start makes the files
        took_s = []
        for _ in range(times):
            with registries.over(home) as server:
                took_s.append(server.ready_s)
        goal_s, took = most_s.get(count, 1.0), statistics.median(took_s)
        what = f"start to ready, {count:,} instances on disk" if count else "start to ready, empty"
        told = f"{took:.2f} s ({min(took_s):.2f}-{max(took_s):.2f})"
        yield Row(what, told, f"≤ {goal_s:.0f} s", took <= goal_s)


def memory(registries: Registries) -> Iterator[Row]:
    for kind, asked in ((EUREKA, "after full and delta, JSON, gzip"), (SERVICECENTER, "after a find of each service")):
        for count in registries.sizes[1:]:
            filled = registries.filled(kind, count)
            what = f"memory per instance at {count:,}, {kind}"
            yield Row(f"{what}, registered", _kb(filled.registered), "≤ 8 KB", filled.registered <= 8192)
            yield Row(f"{what}, {asked}, each has renewed", _kb(filled.asked), "≤ 8 KB", filled.asked <= 8192)


def renewals(registries: Registries) -> Iterator[Row]:
    """Each instance renews once before it counts, as it does all day: then its head is known.

    Few instances flatter: at full speed one renews several times before the store hears of it, and that once.
    """
    for kind, what in ((EUREKA, "renewal"), (SERVICECENTER, "heartbeat")):
        with ExitStack() as stack:
            asked: list[tuple[str, Server, list[bytes]]] = []
            for count in registries.sizes:
                server = stack.enter_context(registries.started(kind, count))
                asked.append((f"{count:,} instances", server, [renewal(kind, number) for number in range(count)]))
            server = stack.enter_context(registries.started(kind, registries.middle))
            _register_wide(server, kind)
            wide = [renewal(kind, number, "WIDE") for number in range(WIDE_FROM, WIDE_FROM + WIDE)]
            asked.append((f"in an application of {WIDE:,}", server, wide))
            for _, server, requests in asked:
                hurry(server, requests)
            cost_us: dict[str, list[float]] = {name: [] for name, _, _ in asked}
            for _ in range(TIMES):
                for name, server, requests in asked:
                    times = max(len(requests), 3_000 if registries.is_quick else 30_000)
                    cost_us[name].append(hurry(server, itertools.islice(itertools.cycle(requests), times)))
        costs = {name: statistics.median(each) for name, each in cost_us.items()}
        least_us = next(iter(costs.values()))
        for name, one_us in costs.items():
            ratio = one_us / least_us
            told = f"{one_us:.1f} µs of CPU, {ratio:.2f} × the first"
            yield Row(f"{kind} {what}, {name}", told, f"≤ {SAME} ×", ratio <= SAME)


def changes(registries: Registries) -> Iterator[Row]:
    """One instance changes its metadata; the delta and the full list, JSON and gzip, are read after each change."""
    homes = {count: registries.copy(EUREKA, count) for count in registries.sizes[1:]}
    with registries.over(homes[registries.middle]) as server:
        _register_wide(server, EUREKA)
        hurry(server, [registration(EUREKA, WIDE_FROM + WIDE, "SINGLE")], connections=1)
    with registries.over(homes[registries.middle]) as server, registries.over(homes[registries.large]) as large:
        asked = {
            "an application of 1": (server, WIDE_FROM + WIDE, "SINGLE"),
            "an application of 50": (server, 0, ""),
            f"an application of {WIDE:,}": (server, WIDE_FROM, "WIDE"),
            f"an application of 50 of {registries.large:,} instances": (large, 0, ""),
        }
        costs = {name: _change_costs(*one, is_quick=registries.is_quick) for name, one in asked.items()}
    of_50 = costs["an application of 50"]
    for name, (change_us, delta_us, full_us) in costs.items():
        told = f"{change_us:,.0f} µs of CPU, {change_us / of_50[0]:.2f} × one of 50"
        yield Row(f"a change in {name}: the registration", told, f"≤ {SAME} ×", change_us <= SAME * of_50[0])
        told = f"{delta_us:,.0f} µs more, {delta_us / of_50[1]:.2f} × one of 50"
        yield Row("… and the delta read after it", told, f"≤ {SAME} ×", delta_us <= SAME * of_50[1])
        most = WIDE / 50
        told = f"{full_us / 1000:.1f} ms more, {full_us / of_50[2]:.2f} × one of 50"
        is_met = full_us <= most * of_50[2] if "instances" not in name else None
        yield Row("… and the full list", told, f"≤ {most:.0f} ×" if is_met is not None else "O(bytes)", is_met)


def _change_costs(server: Server, number: int, group: str, is_quick: bool) -> list[float]:
    """CPU µs of the registration, of the delta read after it, of the full list read after both; medians.

    One after the other, so none shares a commit.
    """
    address = urlsplit(server.url)
    delta, full = (request("GET", path, AS_JSON, GZIPPED) for path in (DELTA, FULL))
    costs: list[list[float]] = []
    with socket.create_connection((address.hostname, address.port), 30) as connection:
        for version in range(1, 20 if is_quick else 200):
            asked = (registration(EUREKA, number, group, version), delta, full)
            costs.append([_cost_us(server, connection, wanted) for wanted in asked])
    return [statistics.median(each) for each in zip(*costs, strict=True)]


def _cost_us(server: Server, connection: socket.socket, wanted: bytes) -> float:
    """Of one request, by the clock that counts the CPU time of another process; it is finer than /proc."""
    assert server.pid is not None
    clock = ~server.pid << 3 | 2  # clock_getcpuclockid(3)
    used_ns = time.clock_gettime_ns(clock)
    connection.sendall(wanted)
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    if answer.status // 100 != 2:
        raise SystemExit(f"{wanted[:60]!r} is answered {answer.status}")
    return (time.clock_gettime_ns(clock) - used_ns) / 1000


def open_loop(registries: Registries) -> Iterator[Row]:
    seconds = 3 if registries.is_quick else 20
    renewing = [renewal(EUREKA, number) for number in range(registries.middle)]
    delta, full = (request("GET", path, AS_JSON, GZIPPED) for path in (DELTA, FULL))
    with registries.started(EUREKA, registries.middle) as server:
        hurry(server, [delta, full, *renewing])
        streams = [Stream("renewals", 1_000, renewing), Stream("full fetches", 100, [full])]
        driven = uvloop.run(drive(server.url, [*streams, Stream("quiet deltas", 300, [delta])], seconds))
        for one in driven.streams.values():
            most_ms = 25 if one.name == "renewals" else None
            yield _latency(f"{one.a_second:,.0f} {one.name}/s beside the others, JSON, gzip", one, most_ms)
        mb = server.rss_bytes() / 2**20
        yield Row("… the server's memory", f"{mb:.0f} MB", "≤ 250 MB", mb <= 250)
        yield _generator(driven)
        rate, used_s, began_s = 6_667, server.cpu_s(), time.perf_counter()
        streams = [Stream("renewals", rate / 2, renewing), Stream("quiet deltas", rate / 2, [delta])]
        driven = uvloop.run(drive(server.url, streams, seconds))
        share = (server.cpu_s() - used_s) / (time.perf_counter() - began_s)
        for one in driven.streams.values():
            yield _latency(f"{one.a_second:,.0f} {one.name}/s, half of {rate:,}", one, 25)
        yield Row("… CPU of the server", f"{share:.1%} of a core", "≤ 35 %", share <= 0.35)
        yield _generator(driven)


def lag(registries: Registries) -> Iterator[Row]:
    """A steady stream of renewals waits as long as the loop is busy with something else."""
    seconds, count = 3 if registries.is_quick else 30, registries.middle
    changing = [
        registration(EUREKA, number % count, version=1 + number // count) for number in range(100 * (seconds + 1))
    ]
    steady = Stream("renewals", 200, [renewal(EUREKA, number) for number in range(count)])
    forms = {"JSON": (AS_JSON,), "JSON gzip": (AS_JSON, GZIPPED), "XML": (AS_XML,), "XML gzip": (AS_XML, GZIPPED)}
    full = {name: request("GET", FULL, *fields) for name, fields in forms.items()}
    delta = {name: request("GET", DELTA, *fields) for name, fields in forms.items()}
    with registries.started(EUREKA, count) as server:
        first = uvloop.run(_first_reads(server.url, steady, [*full.values(), *delta.values()]))
        yield _latency("200 renewals/s while each kind of list is made for the first time", first.streams["renewals"])
        reading = [Stream(f"full {name}", 1, [wanted], connections=4) for name, wanted in full.items()]
        reading += [Stream(f"delta {name}", 2, [wanted], connections=4) for name, wanted in delta.items()]
        writing = Stream("changes", 100, changing, status=204)
        driven = uvloop.run(drive(server.url, [steady, writing, *reading], seconds))
    what = f"200 renewals/s at {count:,} instances, 100 changes/s, full 4/s and delta 8/s in four forms"
    one = driven.streams["renewals"]
    told = f"p99 {one.p99_ms:.1f}, p99.9 {one.p999_ms:.1f}, max {one.max_ms:.1f} ms; {one.errors} errors"
    yield Row(what, told, "p99.9 ≤ 20 ms", one.p999_ms <= 20 and not one.errors)
    for name, one in driven.streams.items():
        if name != "renewals":
            yield _latency(f"… {name}, {one.a_second:,.0f}/s", one)
    yield _generator(driven)


async def _first_reads(url: str, steady: Stream, reads: Sequence[bytes]) -> Driven:
    driving = asyncio.ensure_future(drive(url, [steady], 4))
    await asyncio.sleep(1.5)
    await ask_all(url, reads, connections=1)
    return await driving


def batch(registries: Registries) -> Iterator[Row]:
    count = registries.middle
    beats = [{"serviceId": service_name(number), "instanceId": f"{number:032x}"} for number in range(count)]
    size = min(BATCH, count)
    bodies = [json.dumps({"instances": beats[first : first + size]}).encode() for first in range(0, count, size)]
    batches = [request("PUT", f"{BASE}/heartbeats", body=body) for body in bodies]
    with registries.started(SERVICECENTER, count) as server:
        hurry(server, batches, connections=1)
        times = 50 if registries.is_quick else 500
        costs = [
            hurry(server, itertools.islice(itertools.cycle(batches), times), connections=1) / size for _ in range(TIMES)
        ]
    entry_us = statistics.median(costs)
    yield Row(
        f"heartbeats of {size:,} instances in one request", f"{entry_us:.2f} µs an entry", "≤ 0.6 µs", entry_us <= 0.6
    )


def idle(registries: Registries) -> Iterator[Row]:
    count, seconds = registries.middle, 5 if registries.is_quick else 20
    with registries.started(EUREKA, count) as server:
        time.sleep(3)  # what follows a start is over
        used_s = server.cpu_s()
        time.sleep(seconds)
        share = (server.cpu_s() - used_s) / seconds
        yield Row(f"idle with {count:,} instances", f"{share:.2%} of a core", "< 1 %", share < 0.01)
        connections = 500 if registries.is_quick else 2_000
        each = uvloop.run(_idle_connections(server, connections, renewal(EUREKA, 0)))
        yield Row(f"one of {connections:,} idle connections", _kb(each), "≤ 12 KB", each <= 12 * 1024)


async def _idle_connections(server: Server, count: int, wanted: bytes) -> float:
    """Bytes of the server's memory for each. All have asked something once."""
    address, before = urlsplit(server.url), server.rss_bytes()
    writers = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writers.append(writer)
        writer.write(wanted)
        await reader.readuntil(b"\r\n\r\n")
    each = (server.rss_bytes() - before) / count
    for writer in writers:
        writer.transport.abort()
    return each


def _register_wide(server: Server, kind: str) -> None:
    if kind == SERVICECENTER:
        hurry(server, [service("WIDE")], connections=1)
    hurry(server, (registration(kind, number, "WIDE") for number in range(WIDE_FROM, WIDE_FROM + WIDE)))


def _latency(what: str, one: Answered, most_p99_ms: float | None = None) -> Row:
    figures = " / ".join(f"{figure:.1f}" for figure in (one.p50_ms, one.p99_ms, one.p999_ms, one.max_ms))
    told = f"p50 / p99 / p99.9 / max {figures} ms; {one.errors} errors"
    if most_p99_ms is None:
        return Row(what, told)
    return Row(what, told, f"p99 ≤ {most_p99_ms:.0f} ms", one.p99_ms <= most_p99_ms and not one.errors)


def _generator(driven: Driven) -> Row:
    told = f"late p50 {driven.late_p50_ms:.1f}, p99 {driven.late_p99_ms:.1f} ms; {driven.busy:.0%} busy"
    return Row("… the generator itself", told, f"p99 ≤ {LATE_MS:.0f} ms, ≤ {BUSY_SHARE:.0%}", not driven.warning)


def _kb(size: float) -> str:
    return f"{size / 1024:.1f} KB"
