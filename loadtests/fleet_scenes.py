"""What happens to a fleet: it starts, runs steadily, is deployed anew in part, loses a zone, has it back, and leaves.

In:     a locust environment with a fleet, and how long it is to run steadily.
Out:    one `Scene` each: how long it took, when the last reader saw the change, what was counted meanwhile.
Rules:  a scene ends when every reader sees exactly what is registered; one who does not in time is a fault.
"""

from __future__ import annotations

import random
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import gevent

from loadtests.fleet import ZONES, Client, FleetEnvironment, is_in_wave
from loadtests.fleet_chassis import APP, BASE

START_OVER_S = 10.0
WAVE_OVER_S = 10.0
LEAVE_OVER_S = 5.0
SLACK_S = 20.0
"""For clients that are to do something, over the time that they are given."""

LOOK_EVERY_S = 0.25
EVICTED_WITHIN_S = 10.0
"""After the lease: a few sweeps, of which each ends 15 % at most, and the next poll."""

CLOCK_S = 0.5
"""By which a lease may seem to end too soon: one look, and answers that were under way."""

DEAD_ZONE = ZONES[-1]

Reading = tuple[Client, str]
"""A client, and one of the ways in which it sees others."""


@dataclass
class Scene:
    name: str
    what: str
    took_s: float = 0.0
    seen_s: dict[str, float] = field(default_factory=dict)
    """By way of reading: when the last reader saw the change, after the last writer was answered."""
    counted: Counter[str] = field(default_factory=Counter)


class Scenes:
    def __init__(self, environment: FleetEnvironment, steady_s: float, say: Callable[[str], None]) -> None:
        self.runner = environment.create_local_runner()
        self.fleet = environment.fleet
        self.url = environment.host
        self.steady_s = steady_s
        self.say = say
        self.played: list[Scene] = []

    def play(self) -> None:
        try:
            self.start()
            self.steady()
            self.wave()
            self.death()
            self.come_back()
            self.leave()
        finally:
            self.runner.quit()

    def start(self) -> None:
        count = sum(self.fleet.counts.values())
        with self._scene("start", f"{count} clients start within {START_OVER_S:.0f} s") as scene:
            self.runner.start(count, spawn_rate=max(1.0, count / START_OVER_S))
            self._wait(
                lambda: len(self.fleet.clients) == count and self.fleet.is_complete,
                START_OVER_S + SLACK_S,
                "not every client is registered",
            )
            self._wait_until_seen(scene, self.fleet.clients, self.fleet.terms.seen_within_s)

    def steady(self) -> None:
        with self._scene("steady", "nobody comes or goes"):
            self.fleet.is_still = True
            end_s = time.monotonic() + self.steady_s
            while time.monotonic() < end_s:
                gevent.sleep(1)
                for client, way in self._blind(self._readings(self.fleet.clients)):
                    self.fleet.fault("a reader's list changed while nobody came or went", f"{client.name} by {way}")
            self.fleet.is_still = False

    def wave(self) -> None:
        moving = [client for client in self.fleet.clients if is_in_wave(client.service)]
        told = f"{len(moving)} instances are replaced within {WAVE_OVER_S:.0f} s, new ones first"
        with self._scene("deployment wave", told) as scene:
            before = {client.name for client in moving}
            for client in moving:
                client.agenda[client.replace] = time.monotonic() + random.uniform(0, WAVE_OVER_S)
            self._wait(
                lambda: before.isdisjoint(self.fleet.names(self.fleet.services)) and self.fleet.is_complete,
                WAVE_OVER_S + SLACK_S,
                "not every instance was replaced",
            )
            self._wait_until_seen(scene, self.fleet.clients, self.fleet.terms.seen_within_s)

    def death(self) -> None:
        """The dead are listed until their leases end, and then by nobody; the living always are."""
        dying = [client for client in self.fleet.clients if client.zone == DEAD_ZONE]
        living = [client for client in self.fleet.clients if client.zone != DEAD_ZONE]
        terms = self.fleet.terms
        with self._scene("a zone dies", f"{len(dying)} clients fall silent, until the last reader lost them") as scene:
            listed = {client: client.expected() for client in living}
            for client in dying:
                client.cut_off()
                self.fleet.note_gone(client.service, client.name)
            doomed = {client: names - client.expected() for client, names in listed.items()}

            within_s = terms.last_lease_s + terms.protection_limit_s + EVICTED_WITHIN_S
            self._wait_until_seen(scene, living, within_s + terms.seen_within_s, partial(self._check_losses, doomed))
            if max(scene.seen_s.values(), default=0) > terms.last_lease_s + EVICTED_WITHIN_S:
                scene.what += " (longer than their leases: self-preservation, or a busy machine)"

    def _check_losses(self, doomed: Mapping[Client, AbstractSet[str]], after_s: float) -> None:
        """While the leases of the `doomed` run, by those who read them: nobody is lost too soon, the living never."""
        first_lapse_s = self.fleet.terms.first_lapse_s
        for client, way in self._readings(doomed):
            seen = client.views()[way]
            for name in client.expected() - seen:
                self.fleet.fault("an instance that lives was lost when others died", f"{name}, by {client.name}, {way}")
            for name in doomed[client] - seen:
                if after_s < first_lapse_s[name.split("-")[1]] - CLOCK_S:
                    told = f"{name} after {after_s:.1f} s, by {client.name}, {way}"
                    self.fleet.fault("an instance was lost before its lease ended", told)

    def come_back(self) -> None:
        with self._scene("the zone returns", "its clients renew, are refused, register again") as scene:
            for client in self.fleet.clients:
                if client.is_cut_off:
                    client.come_back()
            self._wait(lambda: self.fleet.is_complete, SLACK_S, "not every client is registered again")
            self._wait_until_seen(scene, self.fleet.clients, self.fleet.terms.seen_within_s)

    def leave(self) -> None:
        with self._scene("all leave", f"every client says goodbye within {LEAVE_OVER_S:.0f} s") as scene:
            for client in self.fleet.clients:
                client.agenda[client.leave] = time.monotonic() + random.uniform(0, LEAVE_OVER_S)
            self._wait(
                lambda: not self.fleet.names(self.fleet.services),
                LEAVE_OVER_S + SLACK_S,
                "not every client could say goodbye",
            )
            self._wait(lambda: not self.ghosts(), self.fleet.terms.seen_within_s, "ghosts are listed at the end")
            scene.counted["ghosts"] = len(self.ghosts())

    def ghosts(self) -> set[str]:
        """Instances of this fleet that a stranger is told of."""
        paths = ["/eureka/apps/"] if "spring" in self.fleet.counts else []
        if "go" in self.fleet.counts:
            paths += [f"{BASE}/instances?appId={APP}&serviceName={name}&version=0%2B" for name in self.fleet.services]
        found: set[str] = set()
        for path in paths:
            asking = urllib.request.Request(self.url + path, headers={"Accept": "application/json"})
            with urllib.request.urlopen(asking, timeout=10) as answer:
                found |= set(re.findall(rf"{self.fleet.run}-[a-z]+-\d+-\d+", answer.read().decode()))
        return found

    @contextmanager
    def _scene(self, name: str, what: str) -> Iterator[Scene]:
        scene = Scene(name, what)
        began_s, counted = time.monotonic(), self.fleet.counted.copy()
        yield scene
        scene.took_s = time.monotonic() - began_s
        scene.counted += self.fleet.counted - counted
        self.played.append(scene)
        self.say(f"{scene.name}: {scene.what}; {scene.took_s:.0f} s")

    def _readings(self, clients: Iterable[Client]) -> list[Reading]:
        return [(client, way) for client in clients for way in client.views()]

    def _blind(self, readings: Iterable[Reading]) -> list[Reading]:
        """Those that do not show exactly what is registered."""
        return [(client, way) for client, way in readings if client.views()[way] != client.expected()]

    def _wait(self, is_so: Callable[[], bool], within_s: float, otherwise: str) -> None:
        end_s = time.monotonic() + within_s
        while not is_so():
            if time.monotonic() > end_s:
                self.fleet.fault(otherwise, f"within {within_s:.0f} s")
                return
            gevent.sleep(LOOK_EVERY_S)

    def _wait_until_seen(
        self, scene: Scene, readers: Iterable[Client], within_s: float, look: Callable[[float], None] | None = None
    ) -> None:
        waiting = self._readings(readers)
        while waiting:
            after_s = time.monotonic() - self.fleet.changed_s
            if look:
                look(after_s)
            still = self._blind(waiting)
            for _, way in set(waiting) - set(still):
                scene.seen_s[way] = after_s
            if after_s > within_s:
                for client, way in still:
                    lacking, surplus = client.expected() - client.views()[way], client.views()[way] - client.expected()
                    told = f"{client.name} by {way} lacks {sorted(lacking)[:3]}, lists {sorted(surplus)[:3]} still"
                    self.fleet.fault(f"not every reader saw: {scene.name}", told)
                return
            waiting = still
            if waiting:
                gevent.sleep(LOOK_EVERY_S)
