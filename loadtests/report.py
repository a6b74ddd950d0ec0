"""What a comparison found, as tables for a terminal and in Markdown."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from loadtests.rounds import MOST_ELSEWHERE, Measured
from loadtests.servers import GENERATOR_CORE, SERVER_CORE, found
from loadtests.work import CONNECTIONS, Work

NGINX, HELLO, THAT_FILE = "nginx", "uvicorn hello", "nginx, that file"
OURS, ORIGINALS = "ours", ("Eureka", "ServiceCenter")
BOUND, DISTURBED, COLD, MISSED = "*", "†", "‡", "✗"
GOALS = ("ours", "× nginx", "× hello", "× original, requests a second", "× original, CPU a request")
HEADINGS = (
    *("work", "server", "a second", "least-most", "CPU µs each", "× nginx", "× hello"),
    *("CPU × nginx", "CPU × hello", "bytes each", "errors"),
)

Figures = dict[tuple[str, str], Measured]
"""By the name of a work and the name of a server."""


class Fact(NamedTuple):
    """What is measured once."""

    what: str
    measured: str
    goal: str


class Run(NamedTuple):
    """How it was measured."""

    instances: int
    rounds: int
    seconds: int
    took_s: float
    steal: float
    """Share of the machine's time over the whole run."""
    repeated: int
    """Rounds that did not count."""
    jvm_warm_s: float


class Section(NamedTuple):
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


class Report(NamedTuple):
    works: Sequence[Work]
    table: Figures
    facts: Sequence[Fact]
    run: Run
    versions: Sequence[str]
    """Of the originals."""
    absent: Sequence[str]
    """Originals that could not be started, and why."""

    def print(self, console: Console) -> None:
        for part in self._parts():
            if isinstance(part, Section):
                table = Table(*part.headings)
                for row in part.rows:
                    table.add_row(*row)
                console.print(table)
            else:
                console.print(*part, sep="\n", markup=False, highlight=False)

    def markdown(self) -> str:
        lines: list[str] = []
        for part in self._parts():
            if isinstance(part, Section):
                lines += [f"| {' | '.join(part.headings)} |", "|" + "---|" * len(part.headings)]
                lines += [f"| {' | '.join(row)} |" for row in part.rows]
            else:
                lines += [f"* {line}" for line in part]
            lines.append("")
        return "\n".join(lines)

    def against(self, work: Work) -> Measured:
        """The nginx that counts for this row."""
        return self.table[work.name, THAT_FILE if work.is_bulk else NGINX]

    def original(self, work: Work) -> str | None:
        return next((name for name in ORIGINALS if (work.name, name) in self.table), None)

    def _parts(self) -> Iterator[Section | Sequence[str]]:
        yield list(self._setting())
        yield Section(GOALS, list(self._goals()))
        yield [self._missed()]
        yield Section(HEADINGS, list(self._figures()))
        yield list(self._notes())
        yield Section(("what", "measured", "goal"), self.facts)

    def _setting(self) -> Iterator[str]:
        run = self.run
        programs = [f"Python {platform.python_version()}", f"uvicorn {version('uvicorn')}", _told(found("nginx"), "-v")]
        programs += [_told("wrk", "-v"), *self.versions]
        yield f"{time.strftime('%Y-%m-%d')}; {platform.system()} {platform.release()}, {os.cpu_count()} cores"
        yield "; ".join(programs)
        yield (
            f"{run.instances:,} instances; {run.rounds} rounds of {run.seconds} s, {CONNECTIONS} kept connections; "
            f"servers on core {SERVER_CORE}, wrk on core {GENERATOR_CORE}"
        )
        for name in (NGINX, HELLO):
            ones = [one for (_, server), one in self.table.items() if server == name]
            rate, cpu = (
                statistics.median(figure) for figure in zip(*((one.rate, one.cpu) for one in ones), strict=True)
            )
            yield f"{name}: {rate:,.0f} a second, {cpu:.1f} µs of CPU each"
        yield f"{run.took_s / 60:.0f} minutes; steal {run.steal:.1%} over all; {run.repeated} rounds repeated"

    def _goals(self) -> Iterator[Sequence[str]]:
        for work in self.works:
            yield work.name + (" (× nginx: that file)" if work.is_bulk else ""), *self._ratios(work)

    def _ratios(self, work: Work) -> Iterator[str]:
        mine, goals = self.table[work.name, OURS], work.goals
        yield _held(mine.rate / self.against(work).rate, goals.nginx)
        yield "" if work.is_bulk else _held(mine.rate / self.table[work.name, HELLO].rate, goals.hello)
        name = self.original(work)
        if name is None:
            yield from ("not measured" if goals.original else "",) * 2
            return
        real = self.table[work.name, name]
        yield _held(mine.rate / real.rate, goals.original)
        yield _held(real.cpu / mine.cpu, goals.original)

    def _missed(self) -> str:
        cells = [(work.name, cell) for work in self.works for cell in self._ratios(work)]
        missed = [name for name, cell in cells if MISSED in cell]
        set_here = sum("≥" in cell or MISSED in cell for _, cell in cells)
        return f"{MISSED} {len(missed)} of {set_here} goals missed" + (
            ": " + ", ".join(dict.fromkeys(missed)) if missed else ""
        )

    def _figures(self) -> Iterator[Sequence[str]]:
        for work in self.works:
            anchor, bare = self.table[work.name, NGINX], self.table[work.name, HELLO]
            for server in (THAT_FILE, OURS, *ORIGINALS):
                if (work.name, server) in self.table:
                    one = self.table[work.name, server]
                    marks = DISTURBED * one.is_disturbed + COLD * one.is_cold
                    yield (
                        work.name,
                        server + marks,
                        f"{one.rate:,.0f}",
                        one.spread,
                        f"{one.cpu:,.0f}" + (f" + {one.store_cpu:,.0f}" if one.store_cpu else ""),
                        f"{one.rate / anchor.rate:.3f}{BOUND * anchor.is_bound}",
                        f"{one.rate / bare.rate:.2f}{BOUND * bare.is_bound}",
                        f"{anchor.cpu / one.cpu:.3f}",
                        f"{bare.cpu / one.cpu:.2f}",
                        f"{one.bytes_each:,.0f}",
                        str(one.errors),
                    )

    def _notes(self) -> Iterator[str]:
        yield "CPU is that of the server's whole process tree. CPU × is the anchor's CPU a request by this server's."
        yield f"{BOUND} the generator was the limit for that anchor: trust the ratio of CPU."
        yield f"{DISTURBED} more than {MOST_ELSEWHERE:.0%} of the machine was busy elsewhere in a round that counts."
        yield "nginx sends the file of a row from disk, without sendfile. Ours writes to SQLite, synchronous=FULL."
        yield "Each server has one core: unkind to a JVM and to Go, whose collectors and compilers share it."
        if self._has("Eureka"):
            yield (
                "Eureka: in memory only; stock caches, so its reads may be 30 s old, where ours never are. Tuned: "
                "max-keep-alive-requests=-1 (else Tomcat closes each connection after 100), self-preservation off, "
                "log at WARN; its rate limiter is off, as it comes. A second one, for the delta of all, keeps changes "
                "for a day. It gzips the full fetch and the delta, but no application: see the bytes."
            )
            yield (
                f"The JVM was warmed with the load itself: {self.run.jvm_warm_s:.0f} s, then in each row until three "
                f"samples agreed within 5 %, {self.run.jvm_warm_s:.0f} s at most; {COLD} they did not."
            )
            if self.run.jvm_warm_s < 75:
                yield "The quick form does not warm a JVM up: its figures are not to be quoted."
        if self._has("ServiceCenter"):
            yield (
                "ServiceCenter: log at WARN, no limits set; its etcd writes to disk, on the same core. "
                "CPU: server + etcd; × original, CPU leaves etcd out, which is to its advantage."
            )
        yield from self.absent

    def _has(self, original: str) -> bool:
        return any(server == original for _, server in self.table)


def _held(ratio: float, goal: float | None) -> str:
    told = f"{ratio:.3f}" if ratio < 1 else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
    if goal is None:
        return told
    return f"{told} ≥ {goal:g}" if ratio >= goal else f"{MISSED} {told} < {goal:g}"


def _told(*command: str) -> str:
    """Name and version, from whichever way a program tells them."""
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    match = re.search(r"(nginx|wrk)\D+([\d.]+)", told.stdout + told.stderr)
    return f"{match[1]} {match[2]}" if match else " ".join(command)
