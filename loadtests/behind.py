"""What a registry behind ours costs and delays: freshness, renewals, calls, idle CPU, start, memory, an outage.

    python -m loadtests.behind                      about forty minutes
    python -m loadtests.behind --quick              less than ten: few trials, a small registry
    python -m loadtests.behind --only outage --minutes 10 --behind servicecenter

Behind stands a real ServiceCenter where SERVICECENTER_BIN names one (with Debian's etcd-server), a real Eureka where
there are a JDK and Maven; else a second process of ours takes that part, and the table says so. Ours has one core to
itself; what stands behind it and the generator share the other.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from loadtests.behind_clients import Population, Renewed
from loadtests.behind_freshness import delays, misses
from loadtests.behind_measures import (
    Outage,
    Rate,
    fill,
    idle,
    median,
    natural,
    outage,
    quantile,
    rates,
    starts,
)
from loadtests.behind_servers import EUREKA, SERVICECENTER, Upstream, free_ports, upstream
from loadtests.servers import GENERATOR_CORE, Server, ours

STOCK_AT_ONCE = 60
"""Trials that overlap where one takes half a minute."""
LATE_MS = 20
"""At the 99th percentile; from there on the figures say more of this machine than of the server."""
HEADINGS = ("what", "behind ours", "measured", "goal")


class Row(NamedTuple):
    what: str
    behind: str
    measured: str
    goal: str


class Run(NamedTuple):
    asked: argparse.Namespace
    home: Path
    ports: Iterator[int]

    def folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.home))


class Scene(NamedTuple):
    """A full registry and ours before it."""

    behind: Upstream
    server: Server
    population: Population
    home: Path
    """Of ours."""
    filled_s: float
    """What the half took that registered through us."""


@contextmanager
def _scene(
    run: Run, kind: str, *, per_service: int = 50, is_long: bool = True, variant: str = "fresh", is_peer: bool = False
) -> Iterator[Scene]:
    port, home = next(run.ports), run.folder()
    population = Population(run.asked.instances, per_service, is_long)
    peer = f"http://localhost:{port}" if is_peer else ""  # under its own host name it would take us for itself
    with (
        upstream(kind, run.ports, run.folder() / "behind", variant=variant, peer=peer) as behind,
        ours("ours", port, home, "--store", behind.store) as server,
    ):
        yield Scene(behind, server, population, home, fill(population, behind, server))


# The parts of the run, each with servers of its own


def _full(run: Run, kind: str) -> Iterator[Row]:
    """With a full registry behind: renewals, calls, memory, freshness, idle CPU, start."""
    asked = run.asked
    embedded = Population(asked.instances)
    with ours("embedded", next(run.ports), run.folder()) as alone, _scene(run, kind) as full:
        title, count = full.behind.title, f"{asked.instances:,} instances"
        embedded.make_services(alone.url)
        embedded.fill(EUREKA, alone.url)
        embedded.fill(SERVICECENTER, alone.url)
        half = asked.instances // 2
        yield Row("registering through us, 8 at once", title, f"{half / full.filled_s:,.0f} a second", "")
        targets = [(alone, embedded, None), (full.server, full.population, full.behind)]
        yield from _rate_rows(title, *rates(targets, asked.rounds, asked.seconds, run.home))
        told = natural(full.behind, full.server, full.population, asked.idle_s)
        calls = told.calls.total()
        which = ", ".join(f"{number} {what}" for what, number in told.calls.most_common(4))
        yield Row(
            f"upstream calls, {count} that renew every 30 s",
            title,
            f"{calls} for {told.renewals:,} renewals: 1/{told.renewals / max(calls, 1):,.0f} ({which})",
            "≤ 1/50",
        )
        yield Row("those renewals", title, f"{_answers(told.seen)}; {told.cpu_share:.1%} of a core", "")
        for miss in misses(full.behind, full.server.url, asked.through):
            total = f"misses in {miss.tries}: {miss.elsewhere} behind, {miss.same_view} in its own view, "
            yield Row(f"registered through us, {miss.what}", title, f"{total}{miss.other_view} in the other", "0")
        yield from _delay_rows(run, full, at_once=1)
        yield _memory(full, "after all that")
        yield _idle(run, full)
        for number, start in enumerate(starts(full.behind, run.ports, run.folder())):
            what = "a picture on disk" if number else "nothing on disk"
            yield Row(
                f"start until /readyz says ok, {count}, {what}",
                title,
                f"{start.took_s:.2f} s; {start.listed:,} listed, {start.rss_bytes / 2**20:.0f} MiB",
                "≤ 5 s",
            )


def _many_services(run: Run, kind: str) -> Iterator[Row]:
    """Ten instances to a service: five times as many services."""
    with _scene(run, kind, per_service=10) as full:
        yield _memory(full, "just filled")
        yield _idle(run, full)


def _stock(run: Run, kind: str) -> Iterator[Row]:
    """A Eureka with its default caches, which decide what its clients see, us among them."""
    if kind == EUREKA:
        with _scene(run, kind, variant="stock") as full:
            yield from _delay_rows(run, full, at_once=STOCK_AT_ONCE)


def _peer(run: Run, kind: str) -> Iterator[Row]:
    """A stock Eureka that lists us as its peer and so tells us of each change."""
    if kind == EUREKA:
        with _scene(run, kind, variant="stock", is_peer=True) as full:
            yield from _delay_rows(run, full, at_once=1)
            yield _idle(run, full)


def _outage(run: Run, kind: str) -> Iterator[Row]:
    with _scene(run, kind, is_long=False) as full:
        seen = outage(full.behind, full.server, full.population, run.asked.minutes, full.home / "output.log")
        what = f"stopped for {run.asked.minutes:g} min"
        for name, measured, goal in _outage_rows(seen, run.asked.instances):
            yield Row(f"{what}: {name}", full.behind.title, measured, goal)


PARTS: dict[str, Callable[[Run, str], Iterator[Row]]] = {
    "full": _full,
    "services": _many_services,
    "stock": _stock,
    "peer": _peer,
    "outage": _outage,
}


# How it is told


def _rate_rows(title: str, embedded: list[Rate], behind: list[Rate]) -> Iterator[Row]:
    ratio = median([one.a_second for one in behind]) / median([one.a_second for one in embedded])
    cpu = median([one.cpu_us for one in behind]) / median([one.cpu_us for one in embedded])
    for what, found in (("embedded store", embedded), (title, behind)):
        speeds = [one.a_second for one in found]
        told = f"{median(speeds):,.0f} a second ({min(speeds):,.0f}-{max(speeds):,.0f}), "
        told += f"{median([one.cpu_us for one in found]):.0f} µs CPU each, {sum(one.errors for one in found)} errors"
        yield Row("renewals at full speed", what, told, "")
    yield Row("that speed against the embedded store", title, f"× {ratio:.2f}; CPU each × {cpu:.2f}", "about 1")
    calls, requests = sum(one.calls for one in behind), sum(one.requests for one in behind)
    told = f"{calls} for {requests:,} renewals: 1/{requests / max(calls, 1):,.0f}"
    yield Row("upstream calls, renewals at full speed", title, told, "≤ 1/50")


def _delay_rows(run: Run, full: Scene, at_once: int) -> Iterator[Row]:
    for one in delays(full.behind, full.server.url, run.asked.trials, at_once=at_once):
        p50, p99 = quantile(one.took_s, 0.5), quantile(one.took_s, 0.99)
        lost = one.tries - len(one.took_s)
        told = f"p50 {p50 * 1000:,.0f} ms, p99 {p99 * 1000:,.0f} ms, in {one.tries}" + (f"; {lost} never" * bool(lost))
        yield Row(one.what, full.behind.title, told, _goal(full.behind, one.what))


def _goal(behind: Upstream, what: str) -> str:
    if "its own" in what:
        return ""
    if "removed" in what and behind.kind == SERVICECENTER:
        return "p99 ≤ 2 s after the 2.3 s for which it keeps ends back itself"
    if behind.kind == SERVICECENTER:
        return "p50 ≤ 300 ms, p99 ≤ 2 s"
    return "its own cache decides" if "stock)" in behind.title else "p99 ≤ 2 s"


def _memory(full: Scene, when: str) -> Row:
    each = full.server.rss_bytes() / 2**20
    return Row(f"memory, {_size(full)}, {when}", full.behind.title, f"{each:.0f} MiB", "")


def _idle(run: Run, full: Scene) -> Row:
    found = idle(full.behind, full.server, run.asked.idle_s)
    told = f"{found.cpu_share:.1%} of a core over {run.asked.idle_s:g} s; {found.calls_a_second:.1f} calls a second"
    return Row(f"nothing changes, {_size(full)}", full.behind.title, told, "≤ 2 % of a core")


def _size(full: Scene) -> str:
    return f"{full.population.count:,} instances in {full.population.services:,} services"


def _answers(seen: Sequence[Renewed]) -> str:
    took = [one.took_s * 1000 for one in seen]
    share = sum(one.status // 100 == 2 for one in seen) / max(len(seen), 1)
    told = f"{share:.3%} 2xx of {len(seen):,}; p50 {quantile(took, 0.5):.1f} ms, p99 {quantile(took, 0.99):.1f} ms, "
    late = quantile([one.late_s * 1000 for one in seen], 0.99)
    return (
        told + f"longest {max(took):.0f} ms" + (f" (the generator itself was late by {late:.0f} ms)" * (late > LATE_MS))
    )


def _outage_rows(seen: Outage, count: int) -> Iterator[tuple[str, str, str]]:
    for when, renewed in (("meanwhile", seen.meanwhile), ("from its return on", seen.afterwards)):
        yield f"renewals {when}", _answers(renewed), "100 %, p99 ≤ 100 ms"
    failed = f"; {seen.failed_reads.total()} failed" if seen.failed_reads else ""
    told = f"least {seen.least_listed:,} of {count:,} listed, {seen.least_found:.0%} found, in {seen.reads:,}{failed}"
    yield "reads", told + f"; age told in the end {seen.age_told:.0f} s", "never emptier"
    slowest = max(seen.writes_s) * 1000
    yield "registrations and cancellations meanwhile", f"{len(seen.writes_s)} taken, longest {slowest:.0f} ms", "taken"
    told = f"{seen.caught_up_s:.1f} s until nothing waits, {seen.agreed_s:.1f} s until it lists the same"
    yield "caught up after its return", told, "≤ 10 s"
    yield "missing there half a minute later", str(seen.missing_after), "0"
    yield "log lines", str(seen.log_lines), "≤ 1 a second"


def main() -> None:
    asked = _arguments()
    os.sched_setaffinity(0, {int(GENERATOR_CORE)})  # what fills and asks keeps off our server's core too
    console = Console(width=None if os.isatty(1) else 200)
    table = Table(*HEADINGS, title=_setting(asked))
    lines = [_setting(asked), "", f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS)]
    with tempfile.TemporaryDirectory(prefix="behind-") as folder:
        run = Run(asked, Path(folder), free_ports(asked.ports_from))
        for kind in asked.behind:
            for part in asked.only:
                for row in PARTS[part](run, kind):
                    console.print(f"{row.what} [{row.behind}]: {row.measured}", markup=False, highlight=False)
                    table.add_row(*row)
                    lines.append(f"| {' | '.join(row)} |")
    console.print(table)
    if asked.markdown:
        asked.markdown.write_text("\n".join(lines) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.behind", description=__doc__.split("\n\n")[0])
    parser.add_argument("--behind", nargs="+", choices=(SERVICECENTER, EUREKA), default=[SERVICECENTER, EUREKA])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="some of the parts")
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=100, help="of each delay")
    parser.add_argument("--through", type=int, default=300, help="registrations through us")
    parser.add_argument("--rounds", type=int, default=5, help="of renewals at full speed")
    parser.add_argument("--seconds", type=int, default=5, help="of each round")
    parser.add_argument("--idle-s", type=float, default=65, help="of watching what nothing costs; a minute has it all")
    parser.add_argument("--minutes", type=float, default=1, help="that the registry behind is stopped")
    parser.add_argument("--quick", action="store_true", help="few trials, a small registry: to try the command itself")
    parser.add_argument("--ports-from", type=int, default=19_000, metavar="PORT")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    asked = parser.parse_args()
    if asked.quick:
        asked.instances, asked.trials, asked.through, asked.rounds, asked.seconds = 1_000, 10, 30, 2, 1
        asked.idle_s, asked.minutes = 10, 0.2
    return asked


def _setting(asked: argparse.Namespace) -> str:
    return (
        f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"{asked.instances:,} instances, half of each protocol; {asked.rounds} rounds of {asked.seconds} s"
    )


if __name__ == "__main__":
    main()
