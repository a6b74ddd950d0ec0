"""Our server beside nginx and a bare uvicorn, in one run: rates, ratios, CPU, memory, start, freshness.

    python -m loadtests.compare                  about five minutes
    python -m loadtests.compare --quick          about two, with fewer rounds
    python -m loadtests.compare --markdown FILE  the tables as Markdown too

A real Eureka server or ServiceCenter that runs already is filled and asked beside ours: --eureka and --servicecenter.
Servers run on one core, the generator (wrk) on the other. Rounds go forwards, then backwards; figures are medians with
their least and most, ratios are ratios of medians. A round in which the machine was busy elsewhere is dropped.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx
from rich.console import Console
from rich.table import Table

from loadtests.freshness import Freshness, freshness
from loadtests.registrations import fill_eureka, fill_servicecenter, service_name
from loadtests.servers import Server, hello, nginx, ours
from loadtests.work import Sample, Work, eureka_works, run, servicecenter_works

MOST_STEAL = 0.05
"""Share of CPU time taken by others on the host, above which a round does not count."""


@dataclass
class Measured:
    """One work on one server, over all rounds that count."""

    samples: list[Sample] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(sample.a_second for sample in self.samples)

    @property
    def spread(self) -> str:
        rates = [sample.a_second for sample in self.samples]
        return f"{min(rates):,.0f}-{max(rates):,.0f}"

    @property
    def errors(self) -> int:
        return sum(sample.errors for sample in self.samples)


class Facts(NamedTuple):
    """What is measured once."""

    instances: int
    bytes_each: dict[str, float]
    """Memory per instance, by what has been asked for so far."""
    start_empty_s: float
    start_full_s: float
    freshness: Sequence[Freshness]


def main() -> None:
    asked = _arguments()
    console = Console(width=None if os.isatty(1) else 160)
    with tempfile.TemporaryDirectory(prefix="compare-") as folder, ExitStack() as stack:
        home = Path(folder)
        ports = iter(range(asked.ports_from, asked.ports_from + 10))
        empty = stack.enter_context(ours("ours", next(ports), home / "freshness"))
        start_empty_s, fresh = empty.ready_s, freshness(empty.url)
        eureka, bytes_each = _filled_with_eureka(stack, next(ports), home, asked.instances)
        servicecenter = stack.enter_context(ours("ours", next(ports), home / "servicecenter"))
        service_ids = fill_servicecenter(servicecenter.url, asked.instances)
        start_full_s = _start_again(next(ports), home, eureka, asked.instances)
        works = [
            *eureka_works(asked.instances),
            *servicecenter_works(asked.instances, service_ids, _revision(servicecenter.url)),
        ]
        anchors = [
            stack.enter_context(nginx(next(ports), home / "nginx")),
            stack.enter_context(hello(next(ports), home / "hello")),
        ]
        targets = {"eureka": [eureka], "servicecenter": [servicecenter]}
        if asked.eureka:
            fill_eureka(asked.eureka, asked.instances)
            targets["eureka"].append(Server("real Eureka", asked.eureka.rstrip("/")))
        if asked.servicecenter:
            fill_servicecenter(asked.servicecenter, asked.instances)
            targets["servicecenter"].append(Server("real ServiceCenter", asked.servicecenter.rstrip("/")))
        table = _measure(works, anchors, targets, asked, home, console)
        facts = Facts(asked.instances, bytes_each, start_empty_s, start_full_s, fresh)
        _print(console, table, facts, asked)
        if asked.markdown:
            asked.markdown.write_text(_markdown(table, facts, asked))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.compare", description=__doc__.split("\n\n")[0])
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each round, after one of warm-up")
    parser.add_argument("--quick", action="store_true", help="two rounds of a second")
    parser.add_argument("--eureka", metavar="URL", help="a real Eureka server, such as http://127.0.0.1:8761")
    parser.add_argument("--servicecenter", metavar="URL", help="a real ServiceCenter")
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


def _start_again(port: int, home: Path, full: Server, count: int) -> float:
    """Start to ready over a copy of the full registry's file, taken while nobody writes."""
    copy = home / "again"
    copy.mkdir()
    for file in (home / "eureka").glob("registry*"):
        (copy / file.name).write_bytes(file.read_bytes())
    with ours("ours", port, copy) as again:
        listed = httpx.get(f"{again.url}/eureka/apps/", headers={"Accept": "application/json"}, timeout=30).read()
        assert listed.count(b'"instanceId"') == count, "everything came back"
        return again.ready_s


def _revision(url: str) -> str:
    query = {"appId": "default", "serviceName": service_name(0), "version": "0%2B"}
    return httpx.get(f"{url}/v4/default/registry/instances", params=query).headers["X-Resource-Revision"]


Key = tuple[str, str]
"""The name of a work and the name of a server."""


def _measure(
    works: Sequence[Work],
    anchors: Sequence[Server],
    targets: dict[str, list[Server]],
    asked: argparse.Namespace,
    home: Path,
    console: Console,
) -> dict[Key, Measured]:
    table: dict[Key, Measured] = {}
    start = 1_800_000_000_000
    for work in works:
        servers = [*anchors, *targets[work.asked_of]]
        for number in range(asked.rounds):
            for server in servers if number % 2 == 0 else reversed(servers):
                start += 10_000_000  # numbers that this work has not sent before
                run(work, server.url, 1, home, start)
                cpu_s, steal = server.cpu_s(), _steal()
                sample = run(work, server.url, asked.seconds, home, start + 5_000_000)
                if _steal() - steal > MOST_STEAL * asked.seconds * os.cpu_count():
                    console.print(f"a round of {work.name} does not count: the machine was busy elsewhere")
                    continue
                if sample.errors and server in anchors:
                    raise SystemExit(f"{server.name} refused {sample.errors} requests of {work.name}: no anchor")
                measured = table.setdefault((work.name, server.name), Measured())
                measured.samples.append(sample)
                measured.cpu_us.append((server.cpu_s() - cpu_s) / max(sample.requests, 1) * 1e6)
        console.print(f"measured: {work.name}")
    return table


def _steal() -> float:
    """CPU seconds that the host gave to others while we wanted them."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def _rows(table: dict[Key, Measured]) -> Iterator[tuple[str, ...]]:
    for work in dict.fromkeys(name for name, _ in table):
        anchor, bare = table[work, "nginx"], table[work, "uvicorn hello"]
        for server in [name for row, name in table if row == work and name not in ("nginx", "uvicorn hello")]:
            one = table[work, server]
            yield (
                work,
                server,
                f"{one.rate:,.0f}",
                one.spread,
                f"{statistics.median(one.cpu_us):,.0f}" if server == "ours" else "",
                f"{one.rate / anchor.rate:.3f}",
                f"{one.rate / bare.rate:.2f}",
                f"{statistics.median(sample.bytes_each for sample in one.samples):,.0f}",
                str(one.errors),
            )


HEADINGS = ("work", "server", "a second", "least-most", "CPU µs each", "× nginx", "× hello", "bytes each", "errors")


def _fact_rows(facts: Facts) -> Iterator[tuple[str, str, str]]:
    for what, size in facts.bytes_each.items():
        yield f"memory per instance at {facts.instances:,}, {what}", f"{size / 1024:.1f} KB", "≤ 8 KB"
    yield "start to ready, empty", f"{facts.start_empty_s:.2f} s", "≤ 1 s"
    yield f"start to ready, {facts.instances:,} instances on disk", f"{facts.start_full_s:.2f} s", "≤ 2 s"
    for one in facts.freshness:
        goal = "p99 ≤ 10 ms" if "watch" in one.what else "the very next answer"
        told = f"{one.misses} misses in {one.tries}; p50 {one.p50_ms:.1f} ms, p99 {one.p99_ms:.1f} ms"
        yield one.what, told, goal


def _print(console: Console, table: dict[Key, Measured], facts: Facts, asked: argparse.Namespace) -> None:
    rates = Table(*HEADINGS, title=_setting(table, asked))
    for row in _rows(table):
        rates.add_row(*row)
    console.print(rates)
    once = Table("what", "measured", "goal")
    for fact in _fact_rows(facts):
        once.add_row(*fact)
    console.print(once)


def _markdown(table: dict[Key, Measured], facts: Facts, asked: argparse.Namespace) -> str:
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
            *lines(("what", "measured", "goal"), _fact_rows(facts)),
            "",
        ]
    )


def _setting(table: dict[Key, Measured], asked: argparse.Namespace) -> str:
    anchors = [
        f"{name} {statistics.median(one.rate for (_, server), one in table.items() if server == name):,.0f}/s"
        for name in ("nginx", "uvicorn hello")
    ]
    return (
        f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"{asked.instances:,} instances, {asked.rounds} rounds of {asked.seconds} s; {', '.join(anchors)}"
    )


if __name__ == "__main__":
    main()
