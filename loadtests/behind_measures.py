"""What is measured of ours with a full registry behind it: start, memory, idle CPU, renewals, calls, an outage."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx

from loadtests.behind_clients import RENEWS_EVERY_S, Http, Population, Reading, Renewed, Renewing, listed_by
from loadtests.behind_freshness import Client, Eureka, ServiceCenter
from loadtests.behind_servers import EUREKA, SERVICECENTER, Upstream
from loadtests.servers import Server, ours
from loadtests.work import Work, run

STARTS = 3
QUIET_WITHIN_S = 420.0
"""A Eureka server tells what has changed for three minutes, and gives that answer again for as long."""
CATCHES_UP_WITHIN_S = 300.0
NEW_IN_OUTAGE = 100


def fill(population: Population, behind: Upstream, server: Server) -> float:
    """Register all; returns the seconds that those took that came through us."""
    is_eureka = behind.kind == EUREKA
    population.make_services(server.url if is_eureka else behind.url)
    population.fill(behind.kind, behind.url)
    with Renewing(server.url, population.renewals()) if not population.is_long else nullcontext():
        began = time.monotonic()
        population.fill(SERVICECENTER if is_eureka else EUREKA, server.url)
        took_s = time.monotonic() - began
        _wait_until(lambda: lists_all(server, population), 60, "not all instances are listed by us")
    return took_s


def lists_all(server: Server, population: Population) -> bool:
    return listed_by(EUREKA, server.url) >= population.count


def _wait_until(is_so: Callable[[], bool], within_s: float, complaint: str) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > within_s:
            raise SystemExit(complaint)
        time.sleep(0.05)
    return time.monotonic() - began


# Start and memory


class Start(NamedTuple):
    took_s: float
    """Until /readyz said "ok"."""
    listed: int
    """In the first answer after that."""
    rss_bytes: int


def starts(behind: Upstream, ports: Iterator[int], home: Path) -> list[Start]:
    """The first time with nothing on disk, then with the picture that the one before has kept."""
    return [_start(behind, next(ports), home) for _ in range(1 + STARTS)]


def _start(behind: Upstream, port: int, home: Path) -> Start:
    began = time.perf_counter()
    with ours("ours", port, home, "--store", behind.store) as server:
        http = Http(server.url)
        _wait_until(lambda: b'"status":"ok"' in http.ask("GET", "/readyz")[1], 60, "never ready")
        took_s = time.perf_counter() - began
        return Start(took_s, listed_by(EUREKA, server.url), server.rss_bytes())


# When nothing changes


class Idle(NamedTuple):
    cpu_share: float
    """Of one core."""
    calls_a_second: float


def idle(behind: Upstream, server: Server, seconds: float) -> Idle:
    if behind.kind == EUREKA:
        http = Http(behind.url, 60)
        delta = "/eureka/apps/delta"
        _wait_until(
            lambda: b'"instanceId"' not in http.ask("GET", delta)[1],
            QUIET_WITHIN_S,
            "the delta of the registry behind never became empty",
        )
    time.sleep(3)
    cpu_s, calls = server.cpu_s(), behind.calls.total()
    time.sleep(seconds)
    return Idle((server.cpu_s() - cpu_s) / seconds, (behind.calls.total() - calls) / seconds)


# Renewals


class Rate(NamedTuple):
    a_second: float
    cpu_us: float
    """CPU of our process for each renewal, the telling of the registry behind included."""
    errors: int
    calls: int
    """To the registry behind, while they came."""
    requests: int


def rates(
    targets: Sequence[tuple[Server, Population, Upstream | None]], rounds: int, seconds: int, home: Path
) -> list[list[Rate]]:
    """At full speed, in rounds that go forwards and backwards; for each target one rate a round."""
    works = [_renewal_work(population) for _, population, _ in targets]
    found: list[list[Rate]] = [[] for _ in targets]
    for number in range(-1, rounds):
        order = range(len(targets)) if number % 2 else range(len(targets) - 1, -1, -1)
        for at in order:
            server, _, behind = targets[at]
            cpu_s, calls = server.cpu_s(), behind.calls.total() if behind else 0
            sample = run(works[at], server.url, seconds, home, 0)
            after = behind.calls.total() if behind else 0
            cpu_us = (server.cpu_s() - cpu_s) / max(sample.requests, 1) * 1e6
            if number >= 0:  # the first only warms up
                found[at].append(Rate(sample.a_second, cpu_us, sample.errors, after - calls, sample.requests))
    return found


def _renewal_work(population: Population) -> Work:
    """Each instance renews in turn, those of both protocols mixed."""
    return Work(f"renewals {id(population)}", "", [f"PUT {path}" for path in population.renewals()])


class Natural(NamedTuple):
    """Renewals as they come, one every 30 s from each instance."""

    renewals: int
    calls: Counter[str]
    cpu_share: float
    seen: list[Renewed]


def natural(behind: Upstream, server: Server, population: Population, seconds: float) -> Natural:
    with Renewing(server.url, population.renewals()) as renewing:
        time.sleep(5)
        began_s, cpu_s, calls = time.monotonic(), server.cpu_s(), Counter(behind.calls)
        time.sleep(seconds)
        ended_s, share, counted = time.monotonic(), (server.cpu_s() - cpu_s) / seconds, behind.calls - calls
    seen = renewing.since(began_s, ended_s)
    return Natural(len(seen), counted, share, seen)


# The registry behind us is stopped


@dataclass
class Outage:
    minutes: float
    meanwhile: list[Renewed]
    """Renewals while it was stopped."""
    afterwards: list[Renewed]
    """From its return until half a minute after it was caught up."""
    least_listed: int
    least_found: float
    failed_reads: Counter[int]
    reads: int
    writes_s: list[float]
    """Registrations and cancellations meanwhile."""
    caught_up_s: float
    """From its return until /readyz says ok and nothing waits."""
    agreed_s: float
    """From its return until it lists what we list, and goes on doing so for half a minute."""
    log_lines: int
    age_told: float
    missing_after: int
    """Instances that it misses half a minute later."""


def outage(behind: Upstream, server: Server, population: Population, minutes: float, log: Path) -> Outage:
    with Renewing(server.url, population.renewals()) as renewing:
        time.sleep(RENEWS_EVERY_S + 3)  # so that all have been heard once
        if listed_by(behind.kind, behind.url) != population.count:
            raise SystemExit("not all were alive when the outage was to begin")
        http, lines = Http(server.url), len(log.read_text().splitlines())
        with Reading(server.url, population) as reading:
            began = time.monotonic()
            with behind.stopped():
                writes = _write_meanwhile(server.url)
                time.sleep(max(0.0, minutes * 60 - (time.monotonic() - began)))
                age = float(httpx.get(f"{server.url}/eureka/apps/NOBODY").headers.get("X-Registry-Data-Age", 0))
            returned = time.monotonic()
            wanted = population.count + NEW_IN_OUTAGE // 2
            with ThreadPoolExecutor(2) as pool:
                caught_up = pool.submit(_seconds_until, lambda: _is_caught_up(http), returned, 0)
                does_agree = partial(_lists_as_many, behind, wanted)
                agreed = pool.submit(_seconds_until, does_agree, returned, RENEWS_EVERY_S)
                caught_up_s, agreed_s = caught_up.result(), agreed.result()
        told = len(log.read_text().splitlines()) - lines
        missing = wanted - listed_by(behind.kind, behind.url)
    return Outage(
        minutes,
        renewing.since(began, returned),
        renewing.since(returned),
        reading.least_listed,
        reading.least_found,
        reading.failures,
        reading.reads,
        writes,
        caught_up_s,
        agreed_s,
        told,
        age,
        missing,
    )


def _write_meanwhile(url: str) -> list[float]:
    """Seconds that each took. New instances of both protocols; half of them are gone again before it has heard."""
    clients: tuple[Client, Client] = Eureka(url), ServiceCenter(url)
    writes: list[float] = []
    for number in range(NEW_IN_OUTAGE):
        client, host = clients[number % 2], f"outage-{number:04d}-x"
        steps = [client.register, client.cancel] if number % 4 < 2 else [client.register]
        for step in steps:
            began = time.monotonic()
            step(f"outage-{client.kind}", host)
            writes.append(time.monotonic() - began)
    return writes


def _seconds_until(is_so: Callable[[], bool], since: float, then_for_s: float) -> float:
    """Until it is so and stays so; infinite when that never comes."""
    began: float | None = None
    while began is None or time.monotonic() - began < then_for_s:
        if not is_so():
            began = None
        elif began is None:
            began = time.monotonic()
        if began is None and time.monotonic() - since > CATCHES_UP_WITHIN_S:
            return float("inf")
        time.sleep(0.2)
    return began - since


def _lists_as_many(behind: Upstream, wanted: int) -> bool:
    return listed_by(behind.kind, behind.url) == wanted


def _is_caught_up(http: Http) -> bool:
    body = http.ask("GET", "/readyz")[1]
    return b'"status":"ok"' in body and b"wait" not in body


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("inf")


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
