"""Load as real clients make it: a fleet of locust users lives through good and bad times of a registry, at scaled time.

    python -m loadtests.load                                     about three minutes, against a server of ours
    python -m loadtests.load --users 30 --minutes 1 --scale 30   a small fleet; less than a minute and a half
    python -m loadtests.load --url URL                           against a server that runs already

What the users check counts as much as the load: each reader must come to see exactly what is registered, after the
fleet's start, a deployment wave, the death of a zone and its return. A failed request, or a fault that a user or a
scene found, makes the exit code 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.request import Request, urlopen

import gevent
from locust.stats import StatsEntry
from rich.console import Console
from rich.table import Table

from loadtests.fleet import SCALES, Client, Fleet, FleetEnvironment, Terms
from loadtests.fleet_chassis import BASE, GoChassisClient, JavaChassisClient
from loadtests.fleet_scenes import EVICTED_WITHIN_S, LOOK_EVERY_S, START_OVER_S, WAVE_OVER_S, Scene, Scenes
from loadtests.fleet_spring import SpringClient
from loadtests.servers import Server, ours

SHARES: Mapping[type[Client], float] = {SpringClient: 0.5, GoChassisClient: 0.25, JavaChassisClient: 0.25}
LEAST_STEADY_S = 10.0
LIMITS = """\
The clients' schedule sets the rate, and locust's own limits bound it long before the server's do. It waits for each
answer, a closed loop, and its own queueing is in the figures: they say nothing of p99 under load."""


def main() -> None:
    asked = _arguments()
    console = Console(width=None if os.isatty(1) else 160)
    terms = Terms(asked.scale)
    with tempfile.TemporaryDirectory(prefix="load-") as home, ExitStack() as stack:
        if asked.url:
            server = Server("named", asked.url.rstrip("/"))
        else:
            scaled = ("--eureka-delta-window-s", str(terms.delta_window_s))
            scaled += ("--protection-limit-s", str(terms.protection_limit_s))
            server = stack.enter_context(ours("ours", asked.port, Path(home), *scaled))
        environment = _environment(server.url, asked.users, terms)
        scenes = Scenes(environment, _steady_s(asked.minutes, terms), console.print)
        effort = Effort(server)
        scenes.play()
        told = effort.told()
    faults = list(_faults(environment))
    _print(console, environment, scenes.played, faults, told)
    sys.exit(1 if faults else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.load", description=__doc__.split("\n\n")[0])
    shares = "half Spring, a quarter each go-chassis and Java-Chassis"
    parser.add_argument("--users", type=int, default=300, help=shares)
    parser.add_argument(
        "--minutes",
        type=float,
        default=3,
        help="about how long; the scenes take what they take, and below two a zone is kept for longer after its death: "
        "self-preservation has not seen a minute of renewals",
    )
    parser.add_argument("--scale", type=int, choices=SCALES, default=10, help="by which all times are divided")
    parser.add_argument("--url", help="of a Eureka server or ServiceCenter; scale its times too")
    parser.add_argument("--port", type=int, default=18_100, help="for the server that is started otherwise")
    return parser.parse_args()


def _steady_s(minutes: float, terms: Terms) -> float:
    """What the other scenes are likely to leave of the time."""
    others_s = START_OVER_S + WAVE_OVER_S + terms.last_lease_s + 8 * terms.poll_s + EVICTED_WITHIN_S
    return max(LEAST_STEADY_S, minutes * 60 - others_s)


def _environment(url: str, users: int, terms: Terms) -> FleetEnvironment:
    """Clients of those protocols that the server answers to."""
    kinds: dict[type[Client], float] = {}
    if _answers(f"{url}/eureka/apps/"):
        kinds[SpringClient] = SHARES[SpringClient]
    if _answers(f"{url}{BASE}/version"):
        kinds |= {kind: SHARES[kind] for kind in (GoChassisClient, JavaChassisClient)}
    if not kinds:
        raise SystemExit(f"{url} answers neither as a Eureka server nor as a ServiceCenter")
    for kind, share in kinds.items():
        kind.fixed_count = max(1, int(users * share / sum(kinds.values())))
    next(iter(kinds)).fixed_count += max(0, users - sum(kind.fixed_count for kind in kinds))
    fleet = Fleet(terms, f"run{int(time.time())}", {kind.kind: kind.fixed_count for kind in kinds})
    environment = FleetEnvironment(fleet, user_classes=list(kinds), host=url)
    environment.events.user_error.add_listener(lambda exception, **_: fleet.fault("a user failed", repr(exception)))
    return environment


def _answers(url: str) -> bool:
    try:
        with urlopen(Request(url, headers={"Accept": "application/json"}), timeout=10):
            return True
    except OSError:
        return False


class Effort:
    """What the run costs on both sides, and whether this side kept its schedule."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._began_s, self._own_s, self._server_s = time.monotonic(), time.process_time(), server.cpu_s()
        self._latest_s = 0.0
        self._looking = gevent.spawn(self._look)

    def told(self) -> str:
        self._looking.kill()
        took_s = time.monotonic() - self._began_s
        own, servers = (time.process_time() - self._own_s) / took_s, (self._server.cpu_s() - self._server_s) / took_s
        told = f"Locust used {own:.0%} of a core" + (f", the server {servers:.0%}" if self._server.pid else "")
        return f"{told}; locust's clients were late by up to {self._latest_s:.1f} s, when it or the machine was busy."

    def _look(self) -> None:
        while True:
            asleep_s = time.monotonic()
            gevent.sleep(LOOK_EVERY_S)
            self._latest_s = max(self._latest_s, time.monotonic() - asleep_s - LOOK_EVERY_S)


def _faults(environment: FleetEnvironment) -> Iterator[str]:
    """What went wrong, and how often, with an example."""
    failed = defaultdict(list)
    for error in environment.stats.errors.values():
        failed[error.name].append(error)
    for name, errors in failed.items():
        yield f"{name} failed: {sum(error.occurrences for error in errors)} ×, as {errors[0].error}"
    for what, particulars in environment.fleet.faults.items():
        yield f"{what}: {len(particulars)} ×, as {particulars[0]}"


def _print(
    console: Console,
    environment: FleetEnvironment,
    played: Sequence[Scene],
    faults: Sequence[str],
    effort: str,
) -> None:
    requests = Table("request", "count", "a second", "failures", "p50 ms", "p99 ms", title=_setting(environment))
    for entry in sorted(environment.stats.entries.values(), key=lambda entry: entry.name):
        requests.add_row(*_request_row(entry))
    requests.add_section()
    requests.add_row(*_request_row(environment.stats.total))
    console.print(requests, LIMITS, effort, _scene_table(played), _scene_notes(environment.fleet.terms), sep="\n")
    for fault in faults:
        console.print(f"FAULT  {fault}", style="red", markup=False)
    console.print(f"Kinds of faults: {len(faults)}")


def _setting(environment: FleetEnvironment) -> str:
    counts = ", ".join(f"{count} {kind}" for kind, count in environment.fleet.counts.items())
    return f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {environment.host}; clients: {counts}"


def _request_row(entry: StatsEntry) -> tuple[str, ...]:
    return (
        entry.name,
        f"{entry.num_requests:,}",
        f"{entry.total_rps:.1f}",
        str(entry.num_failures),
        *(f"{entry.get_response_time_percentile(share):.0f}" for share in (0.5, 0.99)),
    )


COUNTED = {
    "deltas\ncompared": "deltas compared",
    "hash\ndiffered": "mismatches",
    "full\nrefetches": "full refetches",
    "finds\nunchanged": "unchanged",
    "watch\nevents": "events",
    "ghosts": "ghosts",
}
"""Headings, and what the clients call it."""


def _scene_table(played: Sequence[Scene]) -> Table:
    ways = sorted({way for scene in played for way in scene.seen_s})
    table = Table("scene", "lasted s", *(f"seen s\n{way}" for way in ways), *COUNTED)
    for scene in played:
        seen = (f"{scene.seen_s[way]:.1f}" if way in scene.seen_s else "" for way in ways)
        counted = (str(scene.counted.get(what, 0)) for what in COUNTED.values())
        table.add_row(scene.name, f"{scene.took_s:.0f}", *seen, *counted)
    return table


def _scene_notes(terms: Terms) -> str:
    return f"""\
Seen: until the last reader of that kind listed exactly what is registered, from the answer to the last change on; for
the dead from when they fell silent, so that their leases are in it. Ghosts: listed after all had said goodbye.
Time is scaled by {terms.scale}:
  Eureka renewals and all polls every {terms.poll_s:g} s instead of 30
  Eureka leases of {terms.eureka_duration_s} s instead of 90 (twice that once renewed)
  a delta window of {terms.delta_window_s:g} s instead of 180
  self-preservation for {terms.protection_limit_s:g} s at most instead of 600
Not scaled:
  ServiceCenter allows no heartbeat below 5 s: one every {terms.servicecenter_interval_s} s, and leases of \
{terms.servicecenter_lease_s} s
  renewals are counted over a minute: self-preservation holds the dead only if the fleet is younger than that, if its
  leases outlast what that count takes to fall, or if a busy machine delays renewals
  our server looks for lapsed leases every second"""


if __name__ == "__main__":
    main()
