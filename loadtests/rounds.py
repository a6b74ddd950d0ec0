"""Rounds: servers take turns under the same work, forwards, then backwards; what each did, and what it cost.

A round in which the machine was busy elsewhere is dropped for all servers and repeated; where that did not help, it
counts all the same and the row is marked.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from loadtests.servers import Server
from loadtests.work import Sample, Work, generator_s, run

MOST_ELSEWHERE = 0.05
"""Share of the machine's CPU time used by others, on the host or in here, above which a round does not count."""

GENERATOR_BOUND = 0.9
"""Share of its core from which on the generator, not the server, sets the rate."""

STEADY = 0.05
"""Three samples that differ by no more than this are those of a warm JVM."""

STARTS = iter(range(time.time_ns() // 1_000_000, 10**15, 10_000_000))
"""Where the growing numbers of a run begin: they were not sent before."""


@dataclass
class Measured:
    """One work on one server, over all rounds that count."""

    samples: list[Sample] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    """A request, of the server's process tree."""
    store_us: list[float] = field(default_factory=list)
    """A request, of the store that is a process of its own."""
    is_disturbed: bool = False
    """A round counts in which the machine was busy elsewhere, for want of a better one."""
    is_cold: bool = False
    """Its rate was still changing when the rounds began."""

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
    def store_cpu(self) -> float:
        return statistics.median(self.store_us)

    @property
    def bytes_each(self) -> float:
        return statistics.median(sample.bytes_each for sample in self.samples)

    @property
    def is_bound(self) -> bool:
        """The generator had no time left: the server can do more than this rate."""
        return statistics.median(sample.generator_share for sample in self.samples) > GENERATOR_BOUND

    @property
    def errors(self) -> int:
        return sum(sample.errors for sample in self.samples)


class Plan(NamedTuple):
    rounds: int
    seconds: int
    """Of each; wrk knows whole ones only."""
    spare: int
    """Rounds more, in place of those in which the machine was busy."""


Task = tuple[Server, Work]


def warm_up(task: Task, seconds: int, home: Path, least_s: float, most_s: float) -> bool:
    """Asks for `least_s`, then until three samples agree, but no more than `most_s` longer. Whether they did."""
    with task[0].awake():
        return _warmed_up(task, seconds, home, least_s, most_s)


def _warmed_up(task: Task, seconds: int, home: Path, least_s: float, most_s: float) -> bool:
    server, work = task
    began, rates = time.monotonic(), list[float]()
    while True:
        rates.append(run(work, server.url, seconds, home, next(STARTS)).a_second)
        took_s = time.monotonic() - began
        if took_s >= least_s and len(rates) >= 3 and max(rates[-3:]) <= min(rates[-3:]) * (1 + STEADY):
            return True
        if took_s >= least_s + most_s:
            return False


def measure(tasks: Sequence[Task], plan: Plan, home: Path, tell: Callable[[str], None]) -> dict[str, Measured]:
    """By the name of the server. `tell` hears of rounds that do not count."""
    figures = {server.name: Measured() for server, _ in tasks}
    for number, is_last_resort in _attempts(plan, figures):
        turns = [_turn(task, plan.seconds, home) for task in (tasks if number % 2 == 0 else tasks[::-1])]
        elsewhere = max(turn.elsewhere for turn in turns)
        is_disturbed = elsewhere > MOST_ELSEWHERE
        if is_disturbed:
            told = "counts all the same" if is_last_resort else "is repeated"
            tell(f"a round of {tasks[-1][1].name} {told}: {elsewhere:.0%} of the machine was busy elsewhere")
        if is_disturbed and not is_last_resort:
            continue
        for turn in turns:
            row = figures[turn.server]
            row.samples.append(turn.sample)
            row.cpu_us.append(turn.spent.server_s / max(turn.sample.requests, 1) * 1e6)
            row.store_us.append(turn.spent.store_s / max(turn.sample.requests, 1) * 1e6)
            row.is_disturbed |= is_disturbed
    return figures


def _attempts(plan: Plan, figures: dict[str, Measured]) -> Iterator[tuple[int, bool]]:
    """Numbers of rounds until there are enough, and whether the next has to count, whatever happens in it."""
    for number in range(plan.rounds + plan.spare):
        counted = len(next(iter(figures.values())).samples)
        if counted == plan.rounds:
            return
        yield number, number - counted >= plan.spare


class _Turn(NamedTuple):
    server: str
    sample: Sample
    spent: _Clocks
    elsewhere: float
    """Share of the machine's CPU time that others used meanwhile."""


def _turn(task: Task, seconds: int, home: Path) -> _Turn:
    server, work = task
    with server.awake():
        begin, began = _Clocks.now(server), time.monotonic()
        sample = run(work, server.url, seconds, home, next(STARTS))
        spent, took_s = _Clocks.now(server) - begin, time.monotonic() - began
    return _Turn(server.name, sample, spent, spent.elsewhere_s / took_s / (os.cpu_count() or 1))


class _Clocks(NamedTuple):
    """CPU seconds so far."""

    server_s: float
    store_s: float
    generator_s: float
    busy_s: float
    """Of all programs on this machine, without the time that interrupts took."""
    steal_s: float
    """That the host gave to others while we wanted it."""

    @classmethod
    def now(cls, server: Server) -> _Clocks:
        store_s = server.store.cpu_s() if server.store else 0.0
        return cls(server.cpu_s(), store_s, generator_s(), *machine_s())

    def __sub__(self, other: _Clocks) -> _Clocks:
        return _Clocks(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def elsewhere_s(self) -> float:
        return self.steal_s + max(0.0, self.busy_s - self.server_s - self.store_s - self.generator_s)


def machine_s() -> tuple[float, float]:
    """CPU seconds since the machine's start: busy, and stolen by the host."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, steal = (int(fields[at]) / os.sysconf("SC_CLK_TCK") for at in (1, 2, 3, 8))
    return user + nice + system, steal
