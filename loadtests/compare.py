"""Our server beside nginx and a bare uvicorn, in one run: rates, ratios, CPU, memory, start, freshness.

    python -m loadtests.compare                  about twelve minutes
    python -m loadtests.compare --quick          less than two: the chief rows, two rounds of a second
    python -m loadtests.compare --markdown FILE  the tables as Markdown too

A real Eureka server or ServiceCenter that runs already is filled and asked beside ours: --eureka-url and
--servicecenter-url.
Servers run on one core, the generator (wrk) on the other. Rounds go forwards, then backwards; figures are medians with
their least and most, ratios are ratios of medians. A round in which the machine was busy elsewhere is dropped for all
servers and repeated; where that did not help, or in the quick form, the row is marked.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import httpx
from rich.console import Console
from rich.table import Table

from loadtests.freshness import Freshness, freshness
from loadtests.registrations import change_eureka, fill_eureka, fill_servicecenter, service_name
from loadtests.servers import GENERATOR_CORE, Server, hello, nginx, ours
from loadtests.work import FULL, Sample, Work, check, eureka_works, generator_s, raw_body, run, servicecenter_works

MOST_ELSEWHERE = 0.05
"""Share of the machine's CPU time used by others, on the host or in here, above which a round does not count."""

GENERATOR_BOUND = 0.9
"""Share of its core from which on the generator, not the server, sets the rate."""

STARTS = 3


@dataclass
class Measured:
    """One work on one server, over all rounds that count."""

    samples: list[Sample] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    is_disturbed: bool = False
    """A round counts in which the machine was busy elsewhere, for want of a better one."""

    @property
    def rate(self) -> float:
        return statistics.median(sample.a_second for sample in self.samples)

    @property
    def spread(self) -> str:
        rates = [sample.a_second for sample in self.samples]
        return f"{min(rates):,.0f}-{max(rates):,.0f}"

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpu_us)

    @property
    def is_bound(self) -> bool:
        """The generator had no time left: the server can do more than this rate."""
        return statistics.median(sample.generator_share for sample in self.samples) > GENERATOR_BOUND

    @property
    def errors(self) -> int:
        return sum(sample.errors for sample in self.samples)


class Facts(NamedTuple):
    """What is measured once."""

    instances: int
    bytes_each: dict[str, float]
    """Memory per instance, by what has been asked for so far."""
    start_empty_s: Sequence[float]
    start_full_s: Sequence[float]
    freshness: Sequence[Freshness]


def main() -> None:
    asked = _arguments()
    os.sched_setaffinity(0, {int(GENERATOR_CORE)})  # what fills and asks keeps off the servers' core too
    console = Console(width=None if os.isatty(1) else 160)
    with tempfile.TemporaryDirectory(prefix="compare-") as folder, ExitStack() as stack:
        home = Path(folder)
        home.chmod(0o755)  # nginx gives up root before it reads files
        ports = iter(range(asked.ports_from, asked.ports_from + 20))
        start_empty_s = [_started(next(ports), home / f"empty-{number}") for number in range(STARTS)]
        eureka, bytes_each = _filled_with_eureka(stack, next(ports), home, asked.instances)
        _copy(home / "eureka", home / "again")
        start_full_s = [_started(next(ports), home / "again") for _ in range(STARTS)]
        restarted = stack.enter_context(ours("ours", next(ports), home / "again", "--eureka-delta-window-s", "86400"))
        servicecenter = stack.enter_context(ours("ours", next(ports), home / "servicecenter"))
        before = servicecenter.rss_bytes()
        service_ids = fill_servicecenter(servicecenter.url, asked.instances)
        bytes_each["registered in ServiceCenter"] = (servicecenter.rss_bytes() - before) / asked.instances
        works = [
            *eureka_works(asked.instances),
            *servicecenter_works(asked.instances, service_ids, _revision(servicecenter.url)),
        ]
        anchors = [
            stack.enter_context(nginx(next(ports), home / "nginx")),
            stack.enter_context(hello(next(ports), home / "hello")),
        ]
        targets = {"eureka": [eureka], "restarted": [restarted], "servicecenter": [servicecenter]}
        if asked.eureka_url:
            fill_eureka(asked.eureka_url, asked.instances)
            targets["eureka"].append(Server("real Eureka", asked.eureka_url.rstrip("/")))
        if asked.servicecenter_url:
            fill_servicecenter(asked.servicecenter_url, asked.instances)
            targets["servicecenter"].append(Server("real ServiceCenter", asked.servicecenter_url.rstrip("/")))
        table: Figures = {}
        for work in works:
            if work.is_in_quick or not asked.quick:
                _prepare(work, targets[work.asked_of])
                table |= _measure(work, anchors, targets[work.asked_of], asked, home, console)
        # Last, for it leaves instances behind; beside all the others, as a registry in use is.
        facts = Facts(asked.instances, bytes_each, start_empty_s, start_full_s, freshness(restarted.url))
        _print(console, table, facts, asked)
        if asked.markdown:
            asked.markdown.write_text(_markdown(table, facts, asked))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.compare", description=__doc__.split("\n\n")[0])
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each round")
    parser.add_argument("--warm-up", type=int, default=1, metavar="SECONDS", help="once a row; a JVM needs 75")
    parser.add_argument("--quick", action="store_true", help="the chief rows, two rounds of a second")
    parser.add_argument("--eureka-url", metavar="URL", help="a real Eureka server, such as http://127.0.0.1:8761")
    parser.add_argument("--servicecenter-url", metavar="URL", help="a real ServiceCenter")
    parser.add_argument("--ports-from", type=int, default=18_000, metavar="PORT")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    asked = parser.parse_args()
    if asked.quick:
        asked.rounds, asked.seconds = 2, 1
    return asked


def _filled_with_eureka(stack: ExitStack, port: int, home: Path, count: int) -> tuple[Server, dict[str, float]]:
    server = stack.enter_context(ours("ours", port, home / "eureka"))
    before = server.rss_bytes()
    fill_eureka(server.url, count)
    bytes_each = {"registered": (server.rss_bytes() - before) / count}
    as_json = {"Accept": "application/json", "Accept-Encoding": "gzip"}
    for what in ("/eureka/apps/", "/eureka/apps/delta"):
        body = httpx.get(server.url + what, headers=as_json, timeout=30).read()
        assert body.count(b'"instanceId"') == count, "every instance is there once"
    bytes_each["after a full fetch and a delta of all, JSON, gzip"] = (server.rss_bytes() - before) / count
    return server, bytes_each


def _copy(registry: Path, to: Path) -> None:
    """The file of a registry, taken while nobody writes."""
    to.mkdir()
    for file in registry.glob("registry*"):
        (to / file.name).write_bytes(file.read_bytes())


def _started(port: int, home: Path) -> float:
    with ours("ours", port, home) as server:
        return server.ready_s


def _revision(url: str) -> str:
    query = {"appId": "default", "serviceName": service_name(0), "version": "0+"}
    return httpx.get(f"{url}/v4/default/registry/instances", params=query).headers["X-Resource-Revision"]


Figures = dict[tuple[str, str], Measured]
"""By the name of a work and the name of a server."""


def _prepare(work: Work, targets: Sequence[Server]) -> None:
    for server in targets:
        if work.changes:
            change_eureka(server.url, work.changes)
        check(work, server.name, server.url)


def _measure(
    work: Work,
    anchors: Sequence[Server],
    targets: Sequence[Server],
    asked: argparse.Namespace,
    home: Path,
    console: Console,
) -> Figures:
    tasks = [(server, work) for server in [*anchors, *targets]]
    if work.lines == [FULL]:  # bound by bytes: nginx with the same ones says more than nginx with none
        (home / "nginx" / "served" / work.stem).write_bytes(raw_body(work, targets[0].url))
        same = replace(work, name=f"{work.name} (file)", lines=[f"GET /served/{work.stem}"])
        tasks.append((replace(anchors[0], name="nginx, that file"), same))
    starts = iter(range(time.time_ns() // 1_000_000, 10**15, 10_000_000))  # numbers that were not sent before
    for server, task in tasks:
        run(task, server.url, asked.warm_up, home, next(starts))
    figures: Figures = {}
    counted, spare = 0, 0 if asked.quick else asked.rounds - 1
    for number in range(asked.rounds + spare):
        measured, elsewhere = [], 0.0
        for server, task in tasks if number % 2 == 0 else reversed(tasks):
            begin = _Clocks.now(server)
            sample = run(task, server.url, asked.seconds, home, next(starts))
            spent = _Clocks.now(server) - begin
            if sample.errors and server not in targets:
                raise SystemExit(f"{server.name} refused {sample.errors} requests of {work.name}: no anchor")
            measured.append((server, sample, spent.server_s / max(sample.requests, 1) * 1e6))
            elsewhere = max(elsewhere, spent.elsewhere_s(server) / asked.seconds / (os.cpu_count() or 1))
        if elsewhere > MOST_ELSEWHERE:
            is_dropped = number - counted < spare
            told = "is repeated" if is_dropped else "counts all the same"
            console.print(f"a round of {work.name} {told}: {elsewhere:.0%} of the machine was busy elsewhere")
            if is_dropped:
                continue
        for server, sample, cpu_us in measured:
            row = figures.setdefault((work.name, server.name), Measured())
            row.samples.append(sample)
            row.cpu_us.append(cpu_us)
            row.is_disturbed |= elsewhere > MOST_ELSEWHERE
        counted += 1
        if counted == asked.rounds:
            break
    console.print(f"measured: {work.name}")
    return figures


class _Clocks(NamedTuple):
    """CPU seconds so far."""

    server_s: float
    generator_s: float
    busy_s: float
    """Of all programs on this machine, without the time that interrupts took."""
    steal_s: float
    """That the host gave to others while we wanted it."""

    @classmethod
    def now(cls, server: Server) -> _Clocks:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
        user, nice, system, steal = (int(fields[at]) / os.sysconf("SC_CLK_TCK") for at in (1, 2, 3, 8))
        return cls(server.cpu_s(), generator_s(), user + nice + system, steal)

    def __sub__(self, other: _Clocks) -> _Clocks:
        return _Clocks(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    def elsewhere_s(self, server: Server) -> float:
        if server.pid is None:  # started by somebody else: what it used cannot be told from what others did
            return self.steal_s
        return self.steal_s + max(0.0, self.busy_s - self.server_s - self.generator_s)


def _rows(table: Figures) -> Iterator[tuple[str, ...]]:
    for work in dict.fromkeys(name for name, _ in table):
        anchor, bare = table[work, "nginx"], table[work, "uvicorn hello"]
        for server in [name for row, name in table if row == work and name not in ("nginx", "uvicorn hello")]:
            one = table[work, server]
            is_known = one.cpu > 0
            yield (
                work + (DISTURBED if one.is_disturbed else ""),
                server,
                f"{one.rate:,.0f}",
                one.spread,
                f"{one.cpu:,.0f}" if is_known else "",
                f"{one.rate / anchor.rate:.3f}{BOUND if anchor.is_bound else ''}",
                f"{one.rate / bare.rate:.2f}{BOUND if bare.is_bound else ''}",
                f"{anchor.cpu / one.cpu:.3f}" if is_known else "",
                f"{bare.cpu / one.cpu:.2f}" if is_known else "",
                f"{statistics.median(sample.bytes_each for sample in one.samples):,.0f}",
                str(one.errors),
            )


BOUND, DISTURBED = "*", "†"
HEADINGS = (
    *("work", "server", "a second", "least-most", "CPU µs each", "× nginx", "× hello"),
    *("CPU × nginx", "CPU × hello", "bytes each", "errors"),
)


def _fact_rows(facts: Facts) -> Iterator[tuple[str, str, str]]:
    for what, size in facts.bytes_each.items():
        yield f"memory per instance at {facts.instances:,}, {what}", f"{size / 1024:.1f} KB", "≤ 8 KB"
    full = f"start to ready, {facts.instances:,} instances on disk"
    for what, took_s, goal in (
        ("start to ready, empty", facts.start_empty_s, "≤ 1 s"),
        (full, facts.start_full_s, "≤ 2 s"),
    ):
        yield what, f"{statistics.median(took_s):.2f} s ({min(took_s):.2f}-{max(took_s):.2f})", goal
    for one in facts.freshness:
        goal = "p99 ≤ 10 ms" if "watch" in one.what else "the very next answer"
        told = f"{one.misses} misses in {one.tries}; p50 {one.p50_ms:.1f} ms, p99 {one.p99_ms:.1f} ms"
        yield one.what, told, goal


def _print(console: Console, table: Figures, facts: Facts, asked: argparse.Namespace) -> None:
    rates = Table(*HEADINGS, title=_setting(table, asked))
    for row in _rows(table):
        rates.add_row(*row)
    console.print(rates)
    console.print(*_notes(asked), sep="\n")
    once = Table("what", "measured", "goal")
    for fact in _fact_rows(facts):
        once.add_row(*fact)
    console.print(once)


def _markdown(table: Figures, facts: Facts, asked: argparse.Namespace) -> str:
    def lines(headings: Sequence[str], rows: Iterator[tuple[str, ...]]) -> list[str]:
        return [
            f"| {' | '.join(headings)} |",
            "|" + "---|" * len(headings),
            *(f"| {' | '.join(row)} |" for row in rows),
        ]

    return "\n".join(
        [
            _setting(table, asked),
            "",
            *lines(HEADINGS, _rows(table)),
            "",
            *_notes(asked),
            "",
            *lines(("what", "measured", "goal"), _fact_rows(facts)),
            "",
        ]
    )


def _notes(asked: argparse.Namespace) -> list[str]:
    notes = [
        f"{BOUND} the generator was the limit for that anchor: trust the ratio of CPU.",
        f"{DISTURBED} more than {MOST_ELSEWHERE:.0%} of the machine was busy elsewhere in a round that counts.",
        "CPU × is the anchor's CPU a request divided by this server's.",
    ]
    for url, what in ((asked.eureka_url, "Eureka server"), (asked.servicecenter_url, "ServiceCenter")):
        if not url:
            notes.append(f"A real {what} was not asked: none was named.")
    return notes


def _setting(table: Figures, asked: argparse.Namespace) -> str:
    def median(server: str, figure: Callable[[Measured], float]) -> float:
        return statistics.median(figure(one) for (_, name), one in table.items() if name == server)

    anchors = [
        f"{name} {median(name, lambda one: one.rate):,.0f}/s and {median(name, lambda one: one.cpu):.1f} µs"
        for name in ("nginx", "uvicorn hello")
    ]
    return (
        f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"{asked.instances:,} instances, {asked.rounds} rounds of {asked.seconds} s; {', '.join(anchors)}"
    )


if __name__ == "__main__":
    main()
