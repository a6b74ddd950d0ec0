"""Our server beside the real ones, nginx and a bare uvicorn, in one run: rates, CPU, memory, start, freshness.

    python -m loadtests.compare                  about half an hour with both real servers
    python -m loadtests.compare --quick --without-originals      less than four minutes, two rounds of a second
    python -m loadtests.compare --only heartbeat                 the rows whose name holds that
    python -m loadtests.compare --markdown FILE --picture FILE   the tables as Markdown, the ratios as a PNG

A real Eureka is started where there are a JDK and Maven, a real ServiceCenter where SERVICECENTER_BIN names one and
there is an etcd; what cannot be started is said and left out.
All servers run on one core, the real ones stopped unless it is their turn: they use a tenth of it when nobody asks. The
generator (wrk) has the other. Rounds go forwards, then
backwards; figures are medians with their least and most, ratios are ratios of medians.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
from rich.console import Console

from loadtests import originals
from loadtests.freshness import freshness
from loadtests.registrations import fill_eureka, fill_servicecenter, service_name
from loadtests.report import HELLO, NGINX, OURS, THAT_FILE, Fact, Figures, Report, Run
from loadtests.rounds import Plan, Task, machine_s, measure, warm_up
from loadtests.rows import rows
from loadtests.servers import GENERATOR_CORE, Server, free_ports, hello, nginx, ours
from loadtests.work import Work, check, raw_body

STARTS = 3
JVM_WARM_S, JVM_WARM_QUICK_S = 75.0, 10.0
EUREKA_FORGETS_S = 215.0
"""A change is in Eureka's delta for 180 s and then until the next sweep, which comes every 30 s."""
SETTLES_S = 3.0
"""ServiceCenter lists what was registered 300 ms later; this one has just taken thousands."""
A_DAY = str(86_400)
SPRING = ("--server.tomcat.max-keep-alive-requests=-1", "--logging.level.root=WARN")


@dataclass(frozen=True)
class Ask:
    options: argparse.Namespace
    home: Path
    ports: Iterator[int]
    console: Console

    @property
    def count(self) -> int:
        return int(self.options.instances)

    def port(self) -> int:
        return next(self.ports)

    def tell(self, what: str) -> None:
        self.console.print(what, markup=False, highlight=False)


@dataclass
class Target:
    """A server that is measured, and what it is asked: ServiceCenters give services ids of their own."""

    server: Server
    works: dict[str, Work]
    has_jit: bool = False
    quiet_at: float = 0.0
    """When its delta has forgotten the filling, by time.monotonic."""
    is_warm: bool = False


@dataclass
class Targets:
    """By what they hold (see rows.py), ours first."""

    of: dict[str, list[Target]] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    def add(self, kind: str, target: Target) -> None:
        self.of.setdefault(kind, []).append(target)


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends us, the servers end too
    options = _arguments()
    os.sched_setaffinity(0, {int(GENERATOR_CORE)})  # what fills and asks keeps off the servers' core too
    console = Console(width=None if os.isatty(1) else 170)
    with tempfile.TemporaryDirectory(prefix="compare-") as folder, ExitStack() as stack:
        home = Path(folder)
        home.chmod(0o755)  # nginx gives up root before it reads files
        ask = Ask(options, home, free_ports(options.ports_from), console)
        try:
            report = _compared(ask, stack)
        except KeyboardInterrupt:
            raise SystemExit("interrupted: nothing is printed") from None
    report.print(console)
    if options.markdown:
        options.markdown.write_text(report.markdown())
    if options.picture:
        from loadtests.picture import draw  # matplotlib takes a second to import

        draw(report, options.picture)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.compare", description=__doc__.split("\n\n")[0])
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each round")
    parser.add_argument("--quick", action="store_true", help="the chief rows, two rounds of a second, a JVM half warm")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name holds this")
    parser.add_argument("--without-originals", action="store_true", help="no real Eureka, no real ServiceCenter")
    parser.add_argument("--ports-from", type=int, default=18_000, metavar="PORT")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="a PNG")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 1
    return options


def _compared(ask: Ask, stack: ExitStack) -> Report:
    began, (_, stolen_before) = time.monotonic(), machine_s()
    anchors = [stack.enter_context(nginx(ask.port(), ask.home / "nginx"))]
    anchors.append(stack.enter_context(hello(ask.port(), ask.home / "hello")))
    targets = Targets()
    _start_ours(ask, stack, targets)
    chosen = [work for work in targets.of["servicecenter"][0].works.values() if _is_chosen(work, ask.options)]
    if not chosen:
        raise SystemExit(f"no row has {ask.options.only!r} in its name")
    if not ask.options.without_originals:
        _start_originals(ask, stack, targets, {work.asked_of for work in chosen})
    table: Figures = {}
    told: list[str] = []
    for work in chosen:
        table |= _measured(ask, work.name, anchors, targets.of[work.asked_of], told)
    # Last, for it leaves instances behind; beside all the others, as a registry in use is.
    for one in freshness(targets.of["eureka"][0].server.url):
        goal = "p99 ≤ 10 ms" if "watch" in one.what else "the very next answer"
        measured = f"{one.misses} misses in {one.tries}; p50 {one.p50_ms:.1f} ms, p99 {one.p99_ms:.1f} ms"
        targets.facts.append(Fact(one.what, measured, goal))
    for server in _each_once(targets):
        size = f"{server.rss_bytes() / 2**20:.0f} MiB"
        if server.store:
            size += f", its etcd {server.store.rss_bytes() / 2**20:.0f} MiB"
        targets.facts.append(Fact(f"memory of {server.name} after all this", size, ""))
    took_s = time.monotonic() - began
    steal = (machine_s()[1] - stolen_before) / took_s / (os.cpu_count() or 1)
    run = Run(
        instances=ask.count,
        rounds=ask.options.rounds,
        seconds=ask.options.seconds,
        took_s=took_s,
        steal=steal,
        repeated=sum("repeated" in one for one in told),
        jvm_warm_s=_jvm_warm_s(ask),
    )
    return Report(chosen, table, targets.facts, run, targets.versions, targets.absent)


def _is_chosen(work: Work, options: argparse.Namespace) -> bool:
    return (work.is_in_quick or not options.quick) and options.only.lower() in work.name.lower()


def _each_once(targets: Targets) -> Iterable[Server]:
    """One of each name; of ours and of Eureka that which is asked most."""
    kinds = [*targets.of["eureka"], *targets.of["servicecenter"]]
    return {target.server.name: target.server for target in reversed(kinds)}.values()


# Ours


def _start_ours(ask: Ask, stack: ExitStack, targets: Targets) -> None:
    """One is filled, with each protocol in a registry of its own; two more start over copies of what it wrote."""
    count = ask.count
    empty_s = [_started(ask.port(), ask.home / f"empty-{number}") for number in range(STARTS)]
    targets.facts.append(_start_fact("ours, empty", empty_s, "≤ 1 s"))
    filled = ask.home / "eureka"
    holding = stack.enter_context(ours(OURS, ask.port(), filled, "--eureka-delta-window-s", A_DAY))
    _fill_and_weigh(holding, count, targets)
    for copy in ("again", "no-lane"):
        _copy(filled, ask.home / copy)
    full_s = [_started(ask.port(), ask.home / "again") for _ in range(STARTS)]
    targets.facts.append(_start_fact(f"ours, {count:,} instances on disk", full_s, "≤ 2 s"))
    restarted = stack.enter_context(ours(OURS, ask.port(), ask.home / "again"))
    no_lane = stack.enter_context(ours(OURS, ask.port(), ask.home / "no-lane", "--no-lane"))
    servicecenter = stack.enter_context(ours(OURS, ask.port(), ask.home / "servicecenter"))
    before = servicecenter.rss_bytes()
    works = _filled_servicecenter(servicecenter, count)
    targets.facts.append(_memory_fact(count, "registered in ServiceCenter", servicecenter.rss_bytes() - before))
    for kind, server in (("eureka", restarted), ("holding", holding), ("no-lane", no_lane)):
        targets.add(kind, Target(server, works))
    targets.add("servicecenter", Target(servicecenter, works))


def _fill_and_weigh(server: Server, count: int, targets: Targets) -> None:
    before = server.rss_bytes()
    fill_eureka(server.url, count)
    targets.facts.append(_memory_fact(count, "registered", server.rss_bytes() - before))
    as_json = {"Accept": "application/json", "Accept-Encoding": "gzip"}
    for what in ("/eureka/apps/", "/eureka/apps/delta"):
        body = httpx.get(server.url + what, headers=as_json, timeout=30).read()
        assert body.count(b'"instanceId"') == count, "every instance is there once"
    after = server.rss_bytes() - before
    targets.facts.append(_memory_fact(count, "after a full fetch and a delta of all, JSON, gzip", after))


def _filled_servicecenter(server: Server, count: int) -> dict[str, Work]:
    service_ids = fill_servicecenter(server.url, count)
    time.sleep(SETTLES_S)
    query = {"appId": "default", "serviceName": service_name(0), "version": "0+"}
    answer = httpx.get(f"{server.url}/v4/default/registry/instances", params=query)
    return {work.name: work for work in rows(count, service_ids, answer.headers["X-Resource-Revision"])}


def _copy(registry: Path, to: Path) -> None:
    """The file of a registry, taken while nobody writes."""
    to.mkdir()
    for file in registry.glob("registry*"):
        (to / file.name).write_bytes(file.read_bytes())


def _started(port: int, home: Path) -> float:
    with ours(OURS, port, home) as server:
        return server.ready_s


def _start_fact(what: str, took_s: Sequence[float], goal: str) -> Fact:
    took = f"{sorted(took_s)[len(took_s) // 2]:.2f} s ({min(took_s):.2f}-{max(took_s):.2f})"
    return Fact(f"start to ready, {what}", took, goal)


def _memory_fact(count: int, what: str, rss_bytes: int) -> Fact:
    return Fact(f"memory per instance at {count:,}, {what}", f"{rss_bytes / count / 1024:.1f} KB", "≤ 8 KB")


# The originals


def _start_originals(ask: Ask, stack: ExitStack, targets: Targets, kinds: set[str]) -> None:
    for title, start, missing, its_kinds in (
        ("Eureka", _start_eureka, originals.missing_for_eureka(), {"eureka", "holding"} & kinds),
        ("ServiceCenter", _start_servicecenter, originals.missing_for_servicecenter(), {"servicecenter"} & kinds),
    ):
        try:
            if missing:
                raise SystemExit(f"not at hand: {missing}")
            for kind in sorted(its_kinds):
                start(ask, stack, targets, kind)
        except (SystemExit, subprocess.CalledProcessError, OSError) as error:
            targets.absent.append(f"A real {title} was not measured: {error}")
            ask.tell(targets.absent[-1])


def _start_eureka(ask: Ask, stack: ExitStack, targets: Targets, kind: str) -> None:
    """Two, as with ours: one tells of no changes, one of all."""
    options = [*SPRING, "--eureka.server.enable-self-preservation=false"]
    if kind == "holding":
        options.append(f"--eureka.server.retention-time-in-m-s-in-delta-queue={A_DAY}000")
    server = stack.enter_context(originals.eureka(ask.port(), ask.home / f"real-{kind}", *options))
    fill_eureka(server.url, ask.count)
    works = targets.of["servicecenter"][0].works
    targets.add(kind, Target(server, works, has_jit=True, quiet_at=time.monotonic() + EUREKA_FORGETS_S))
    if kind == "eureka":
        targets.facts.append(_start_fact("Eureka, empty", [server.ready_s], ""))
        targets.versions.append(originals.eureka_version())
    server.sleeps = True
    ask.tell(f"started and filled: {server.name} ({kind})")


def _start_servicecenter(ask: Ask, stack: ExitStack, targets: Targets, kind: str) -> None:
    started = originals.servicecenter(ask.port(), ask.port(), ask.home / "real-servicecenter", log_level="WARN")
    server = stack.enter_context(started)
    targets.add(kind, Target(server, _filled_servicecenter(server, ask.count)))
    targets.facts.append(_start_fact("ServiceCenter, empty, its etcd runs", [server.ready_s], ""))
    targets.versions.append(f"ServiceCenter {originals.servicecenter_version(server.url)}")
    server.sleeps = True
    ask.tell(f"started and filled: {server.name}")


# The rounds


def _measured(ask: Ask, name: str, anchors: Sequence[Server], targets: Sequence[Target], told: list[str]) -> Figures:
    def tell(what: str) -> None:
        told.append(what)
        ask.tell(what)

    work = targets[0].works[name]
    for target in targets:
        with target.server.awake():
            if work.lists == 0:
                time.sleep(max(0.0, target.quiet_at - time.monotonic()))
            check(target.works[name], target.server.name, target.server.url)
    tasks: list[Task] = [(server, work) for server in anchors]
    if work.is_bulk:
        (ask.home / "nginx" / "served" / work.stem).write_bytes(raw_body(work, targets[0].server.url))
        same = replace(work, name=f"{name} (file)", lines=[f"GET /served/{work.stem}"])
        tasks.append((replace(anchors[0], name=THAT_FILE), same))
    tasks += [(target.server, target.works[name]) for target in targets]
    cold = {target.server.name for target in targets if target.has_jit and not _warm(ask, target, name)}
    for target in targets:
        if not target.has_jit:
            warm_up((target.server, target.works[name]), 1, ask.home, least_s=1, most_s=0)
    plan = Plan(ask.options.rounds, ask.options.seconds, 0 if ask.options.quick else ask.options.rounds - 1)
    figures = measure(tasks, plan, ask.home, tell)
    for asked, one in figures.items():
        one.is_cold = asked in cold
        if one.errors and asked in (NGINX, HELLO, THAT_FILE):
            raise SystemExit(f"{asked} refused {one.errors} requests of {name}: no anchor")
    ask.tell(f"measured: {name}: " + ", ".join(f"{asked} {one.rate:,.0f}/s" for asked, one in figures.items()))
    return {(name, asked): one for asked, one in figures.items()}


def _warm(ask: Ask, target: Target, name: str) -> bool:
    warm_s = _jvm_warm_s(ask)
    least_s, target.is_warm = 0.0 if target.is_warm else warm_s, True
    return warm_up((target.server, target.works[name]), ask.options.seconds, ask.home, least_s, warm_s)


def _jvm_warm_s(ask: Ask) -> float:
    return JVM_WARM_QUICK_S if ask.options.quick else JVM_WARM_S


if __name__ == "__main__":
    main()
