"""Whether a renewal still costs what it should, in less than a minute: ratios of CPU, for times differ by machine.

    python -m loadtests.smoke        exit status 1 when a limit is broken, and the text says which

A renewal is held against a bare uvicorn's answer in the same run, with and without the lane, and with 10 000 instances
against one with ten. The same number of instances renews in both: thousands would miss the processor's caches, by as
much as the neighbours of a shared machine please (1.1 to 1.9 times), and hide what is asked, whether the registry is
walked. Limits leave half as much again as was measured, or more; one counts as broken when it is so twice, for the
machine may have been busy.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from loadtests.registrations import fill_eureka, fill_servicecenter
from loadtests.rounds import Measured, Plan, Task, measure, warm_up
from loadtests.rows import heartbeats, renewals
from loadtests.servers import GENERATOR_CORE, Server, found, free_ports, hello, ours
from loadtests.work import Work

FEW, MANY = 10, 10_000
PLAN = Plan(rounds=3, seconds=1, spare=0)
PORTS_FROM = 18_800

BARE, NO_LANE = "a bare uvicorn's answer", "a Eureka renewal without the lane"
RENEWALS = ("Eureka renewal", "ServiceCenter heartbeat")


class Limit(NamedTuple):
    what: str
    against: str
    most: float
    """Times the CPU of the other."""


LIMITS = (
    Limit(f"{RENEWALS[0]} of {MANY:,}", BARE, 0.9),
    Limit(f"{RENEWALS[1]} of {MANY:,}", BARE, 0.9),
    Limit(NO_LANE, BARE, 4.0),
    *(Limit(f"{what} of {MANY:,}", f"{what} of {FEW}", 2.0) for what in RENEWALS),
)


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends us, the servers end too
    found("wrk")
    os.sched_setaffinity(0, {int(GENERATOR_CORE)})
    with tempfile.TemporaryDirectory(prefix="smoke-") as folder, ExitStack() as stack:
        home = Path(folder)
        try:
            broken = _broken_twice(_tasks(stack, home), home)
        except KeyboardInterrupt:
            raise SystemExit("interrupted") from None
    if broken:
        raise SystemExit("\n".join(f"too dear: {line}" for line in broken))


def _tasks(stack: ExitStack, home: Path) -> list[Task]:
    ports = free_ports(PORTS_FROM)
    tasks = [(replace(stack.enter_context(hello(next(ports), home / "hello")), name=BARE), Work(BARE, "", ["GET /"]))]
    no_lane = stack.enter_context(ours(NO_LANE, next(ports), home / "no-lane", "--no-lane"))
    fill_eureka(no_lane.url, FEW)
    tasks.append((no_lane, Work(NO_LANE, "", renewals(FEW))))
    for count in (FEW, MANY):
        server = stack.enter_context(ours("ours", next(ports), home / str(count)))
        tasks += _renewals(server, count)
    return tasks


def _renewals(server: Server, count: int) -> Iterator[Task]:
    """Both protocols in one registry."""
    fill_eureka(server.url, count)
    service_ids = fill_servicecenter(server.url, count)
    for what, lines in zip(RENEWALS, (renewals(count), heartbeats(count, service_ids)), strict=True):
        name = f"{what} of {count:,}"
        yield replace(server, name=name), Work(name, "", lines[:: len(lines) // FEW])


def _broken_twice(tasks: Sequence[Task], home: Path) -> list[str]:
    for task in tasks:
        warm_up(task, PLAN.seconds, home, least_s=PLAN.seconds, most_s=0)
    first = _broken(tasks, home)
    if not first:
        return []
    print("once more, for the machine may have been busy")
    return [told for limit, told in _broken(tasks, home).items() if limit in first]


def _broken(tasks: Sequence[Task], home: Path) -> dict[Limit, str]:
    figures = _measured(tasks, home)
    if any(one.errors for one in figures.values()):
        print("once more, for wrk gives up after 2 s, and the machine may have stood still for as long")
        figures = _measured(tasks, home)
    for name, one in figures.items():
        if one.errors:
            raise SystemExit(f"{name}: {one.errors} errors: no figure")
    return dict(_judged(figures))


def _measured(tasks: Sequence[Task], home: Path) -> dict[str, Measured]:
    figures = measure(tasks, PLAN, home, tell=print)
    for name, one in figures.items():
        print(f"{name}: {one.cpu:.1f} µs of CPU, {one.rate:,.0f} a second, {one.errors} errors")
    return figures


def _judged(figures: dict[str, Measured]) -> Iterator[tuple[Limit, str]]:
    for limit in LIMITS:
        ratio = figures[limit.what].cpu / figures[limit.against].cpu
        told = f"{limit.what} costs {ratio:.2f} × {limit.against}; the limit is {limit.most:g}"
        print(told)
        if ratio > limit.most:
            yield limit, told


if __name__ == "__main__":
    main()
