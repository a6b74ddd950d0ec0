"""A fleet of clients as locust users: the terms they live by, what they know of each other, and what all of them do.

In:     a scale. Clients renew and poll every 30 s in life, every 30/scale s here; leases shrink alike.
Out:    requests, counted by locust; in `Fleet` who is listed, and the faults that the clients found.
Rules:  `fleet_spring` and `fleet_chassis` say what each kind sends and checks, `fleet_scenes` what happens to them.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import gevent
from locust import FastHttpUser, constant, task
from locust.contrib.fasthttp import ResponseContextManager
from locust.env import Environment
from locust.exception import StopUser

SCALES = (1, 2, 3, 5, 6, 10, 15, 30)
"""Leases are whole seconds on the wire, and so 30 has to be divisible by the scale."""

PER_SERVICE = 10
ZONES = ("zone-a", "zone-b", "zone-c")
MARK = "fleet"
"""The metadata key by which readers of either protocol tell an instance: ids differ from one to the other."""


@dataclass(frozen=True)
class Terms:
    """Times of life, divided by the scale."""

    scale: int

    @property
    def poll_s(self) -> float:
        return 30 / self.scale

    @property
    def eureka_interval_s(self) -> int:
        return 30 // self.scale

    @property
    def eureka_duration_s(self) -> int:
        return 90 // self.scale

    @property
    def servicecenter_interval_s(self) -> int:
        """ServiceCenter raises anything below 5 s to that (registry.instance.minInterval), and so no client asks it."""
        return max(5, 30 // self.scale)

    @property
    def servicecenter_times(self) -> int:
        """Heartbeats that may fail before the lease is over with the next one."""
        return 3

    @property
    def servicecenter_lease_s(self) -> int:
        return self.servicecenter_interval_s * (self.servicecenter_times + 1)

    @property
    def delta_window_s(self) -> float:
        return 180 / self.scale

    @property
    def protection_limit_s(self) -> float:
        """After which our server's self-preservation ends by itself."""
        return 600 / self.scale

    @property
    def last_lease_s(self) -> float:
        """The longest that anybody is listed after its last renewal: a renewed Eureka lease lives twice its term."""
        return max(2 * self.eureka_duration_s, self.servicecenter_lease_s)

    @property
    def seen_within_s(self) -> float:
        """After a change is answered: two polls, and what a ServiceCenter holds back. Less than a lease, at least up to
        a scale of 10: one who did not go when told, but lapsed, is noticed."""
        return 2 * self.poll_s + 5

    @property
    def first_lapse_s(self) -> Mapping[str, int]:
        """The soonest that a lease may end after its owner fell silent, by kind of client."""
        servicecenter = self.servicecenter_lease_s - self.servicecenter_interval_s
        return {
            "spring": self.eureka_duration_s - self.eureka_interval_s,
            "go": servicecenter,
            "java": servicecenter,
        }


@dataclass
class Fleet:
    """What is true of all clients, as far as the registry has acknowledged it."""

    terms: Terms
    run: str
    """Begins the name of each instance, so that readers overlook whoever else is registered."""
    counts: Mapping[str, int]
    """How many clients of each kind."""
    clients: list[Client] = field(default_factory=list)
    listed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Names of the instances that readers have to see, by service."""
    changed_s: float = 0.0
    """When `listed` changed last."""
    is_still: bool = False
    """Nothing has changed since every reader saw everything: whoever asks what is new must hear that nothing is."""
    counted: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """What went wrong, by kind, each with its particulars."""

    @cached_property
    def services(self) -> list[str]:
        return sorted({_service(kind, number) for kind, count in self.counts.items() for number in range(count)})

    @property
    def is_complete(self) -> bool:
        """Whether each client is registered under its present name, and nobody else is."""
        return {client.name for client in self.clients} == self.names(self.listed)

    def names(self, services: Collection[str]) -> set[str]:
        return set().union(*(self.listed[service] for service in services))

    def is_ours(self, name: str) -> bool:
        return name.startswith(f"{self.run}-")

    def join(self, client: Client) -> int:
        """Returns the newcomer's number among its kind."""
        self.clients.append(client)
        return sum(other.kind == client.kind for other in self.clients) - 1

    def note_registered(self, service: str, name: str) -> None:
        self.listed[service].add(name)
        self.changed_s = time.monotonic()

    def note_gone(self, service: str, name: str) -> None:
        self.listed[service].discard(name)
        self.changed_s = time.monotonic()

    def fault(self, what: str, particulars: str) -> None:
        self.faults[what].append(particulars)


class FleetEnvironment(Environment):
    """Locust's, with the fleet that its users belong to."""

    def __init__(self, fleet: Fleet, **options: Any) -> None:
        super().__init__(**options)
        self.fleet = fleet


class Client(FastHttpUser):
    """One instance that registers, renews and reads. An agenda says which of its steps is due when."""

    abstract = True
    kind: ClassVar[str]
    interval_s: float
    """Between two renewals."""
    wait_time = constant(0)  # the agenda waits
    network_timeout = 10.0
    connection_timeout = 10.0

    # What each kind of client does in its own protocol.
    register: Callable[[], object]
    """Returns what `cancel` needs to know of the instance."""
    renew: Callable[[], None]
    cancel: Callable[[Any], None]
    read: Callable[[], None]
    views: Callable[[], Mapping[str, AbstractSet[str]]]
    """The names that this client sees, by the way in which it came to see them."""

    def __init__(self, environment: FleetEnvironment) -> None:
        super().__init__(environment)
        self.fleet = environment.fleet
        self.number = self.fleet.join(self)
        self.service = _service(self.kind, self.number)
        self.zone = ZONES[self.number % len(ZONES)]
        self.generation = 0
        self.is_cut_off = False
        self.was_cut_off = False
        """Nobody has answered since it came back: its lease is likely to be over."""
        self.agenda: dict[Callable[[], None], float] = {}
        self.instance: object = None

    @property
    def name(self) -> str:
        """Of the instance that this client is now."""
        return f"{self.fleet.run}-{self.kind}-{self.number}-{self.generation}"

    def reads(self) -> Collection[str]:
        """The services that this client follows."""
        return self.fleet.services

    def expected(self) -> set[str]:
        return self.fleet.names(self.reads())

    def on_start(self) -> None:
        self.enter()
        self.read()
        now_s = time.monotonic()
        self.agenda = {self.renew: now_s + self.interval_s, self.read: now_s + self.fleet.terms.poll_s}

    @task
    def live(self) -> None:
        """The next step, when it is due. Real clients too count the next pause from the end of the last step."""
        step = min(self.agenda, key=self.agenda.__getitem__)
        gevent.sleep(max(0.0, self.agenda.pop(step) - time.monotonic()))
        if not self.is_cut_off:
            step()
        if step in (self.renew, self.read):
            self.agenda[step] = time.monotonic() + (self.interval_s if step == self.renew else self.fleet.terms.poll_s)

    def enter(self) -> None:
        self.instance = self.register()
        self.note_answered()
        self.fleet.note_registered(self.service, self.name)

    def note_answered(self) -> None:
        """Its lease runs; unless it was cut off before the answer could come."""
        self.was_cut_off = self.is_cut_off

    def replace(self) -> None:
        """As a deployment does: the new instance comes, then the old one goes."""
        old, old_name = self.instance, self.name
        self.generation += 1
        self.enter()
        self.cancel(old)
        self.fleet.note_gone(self.service, old_name)

    def leave(self) -> None:
        self.cancel(self.instance)
        self.fleet.note_gone(self.service, self.name)
        raise StopUser

    def cut_off(self) -> None:
        """From now on nobody hears from this client, and it hears nothing."""
        self.is_cut_off = self.was_cut_off = True

    def come_back(self) -> None:
        self.is_cut_off = False

    def ask(
        self,
        method: str,
        path: str,
        what: str,
        document: object = None,
        headers: Mapping[str, str] | None = None,
        accepted: Collection[int] = (200,),
    ) -> ResponseContextManager:
        """Any status but the `accepted` ones is a failure in locust's count of `what`; 0 stands for no answer."""
        said = {"Accept": "application/json", "Accept-Encoding": "gzip"} | dict(headers or {})
        with self.client.request(method, path, what, json=document, headers=said, catch_response=True) as answer:
            if answer.status_code in accepted:
                answer.success()
            else:
                answer.failure(f"{answer.status_code} {answer.text or getattr(answer, 'error', '')}"[:200])
        return answer


def _service(kind: str, number: int) -> str:
    return f"load-{kind}-{number // PER_SERVICE:02d}"


def is_in_wave(service: str) -> bool:
    """Every third service of each kind is deployed anew."""
    return int(service.rpartition("-")[2]) % 3 == 0
