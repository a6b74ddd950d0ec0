"""A Spring client: registers, fetches everything once, renews, and keeps its copy by deltas, gzipped, hash and all.

What it checks: the hash of every document against its own copy, and that what it asks for gzipped comes gzipped.
Source: Netflix/eureka, DiscoveryClient.getAndUpdateDelta and reconcileAndLogDifference; Spring Cloud uses that engine.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import msgspec
from locust.contrib.fasthttp import ResponseContextManager

from loadtests.fleet import MARK, Client, FleetEnvironment
from loadtests.registrations import eureka_instance


class Instance(msgspec.Struct, rename="camel"):
    """What a reader needs of an instance."""

    instance_id: str
    status: str
    action_type: str = ""
    metadata: dict[str, str] = {}


class Application(msgspec.Struct):
    name: str
    instance: list[Instance]


class Applications(msgspec.Struct):
    hashcode: str = msgspec.field(name="apps__hashcode")
    application: list[Application]

    def instances(self) -> Iterable[tuple[Key, Instance]]:
        return (
            ((application.name, instance.instance_id), instance)
            for application in self.application
            for instance in application.instance
        )


class _Root(msgspec.Struct):
    applications: Applications


class Known(NamedTuple):
    """An instance in the copy of a client."""

    status: str
    name: str


Key = tuple[str, str]
"""Application and instance id."""

Copy = dict[Key, Known]

_decoder = msgspec.json.Decoder(_Root)


def full_copy(document: Applications) -> Copy:
    return {key: _known(instance) for key, instance in document.instances()}


def apply_delta(copy: Copy, delta: Applications) -> None:
    """ADDED and MODIFIED put an instance, DELETED takes it away if it is there."""
    for key, instance in delta.instances():
        if instance.action_type == "DELETED":
            copy.pop(key, None)
        else:
            copy[key] = _known(instance)


def apps_hashcode(copy: Mapping[Key, Known]) -> str:
    """STATUS_count_ for each status there is, in alphabetical order. Source: Netflix/eureka, Applications.java."""
    statuses = Counter(known.status for known in copy.values())
    return "".join(f"{status}_{count}_" for status, count in sorted(statuses.items()))


def _known(instance: Instance) -> Known:
    return Known(instance.status, instance.metadata.get(MARK, ""))


class SpringClient(Client):
    kind = "spring"

    def __init__(self, environment: FleetEnvironment) -> None:
        super().__init__(environment)
        self.interval_s = self.fleet.terms.eureka_interval_s
        self.copy: Copy = {}
        self.seen: set[str] = set()
        self.read_s: float | None = None
        """When it last read; None before the first time."""

    def views(self) -> Mapping[str, AbstractSet[str]]:
        return {"Spring, delta": self.seen}

    def register(self) -> dict[str, Any]:
        instance = self._document()
        self._send(instance, "Eureka registration")
        return instance

    def renew(self) -> None:
        """A 404 means: register again. It may only come to one who was away."""
        what, accepted = "Eureka renewal", [200]
        if self.was_cut_off:
            what, accepted = "Eureka renewal after an absence", [200, 404]
        query = f"status=UP&lastDirtyTimestamp={self.instance['lastDirtyTimestamp']}"
        status = self.ask("PUT", f"{_path(self.instance)}?{query}", what, accepted=accepted).status_code
        if status == 404:
            self.enter()
        elif status == 200:
            self.note_answered()

    def cancel(self, instance: Any) -> None:
        """Spring says DOWN first, so that readers see it by its status."""
        self._send(instance | {"status": "DOWN", "lastDirtyTimestamp": _now_ms()}, "Eureka registration as DOWN")
        self.ask("DELETE", _path(instance), "Eureka cancellation")

    def read(self) -> None:
        if self.read_s is None:
            self._fetch()
            return
        answer = self.ask("GET", "/eureka/apps/delta", "Eureka delta")
        if answer.status_code != 200:
            return
        self._check_gzip(answer)
        is_late = time.monotonic() - self.read_s > self.fleet.terms.delta_window_s
        delta = _decoder.decode(answer.content).applications
        apply_delta(self.copy, delta)
        self._note_read()
        self.fleet.counted["deltas compared"] += 1
        if apps_hashcode(self.copy) != delta.hashcode:
            self.fleet.counted["mismatches"] += 1
            if not is_late:
                told = f"{self.name}: {apps_hashcode(self.copy)} by its copy, {delta.hashcode} by the delta"
                self.fleet.fault("a delta, asked for in time, left a copy with another hash", told)
            self._fetch()
            self.fleet.counted["full refetches"] += 1

    def _fetch(self) -> None:
        answer = self.ask("GET", "/eureka/apps/", "Eureka full fetch")
        if answer.status_code != 200:
            return
        self._check_gzip(answer)
        document = _decoder.decode(answer.content).applications
        self.copy = full_copy(document)
        self._note_read()
        if apps_hashcode(self.copy) != document.hashcode:
            told = f"{self.name}: {apps_hashcode(self.copy)} counted, {document.hashcode} said"
            self.fleet.fault("a full answer does not have the hash of what it lists", told)

    def _note_read(self) -> None:
        self.read_s = time.monotonic()
        self.seen = {known.name for known in self.copy.values() if self.fleet.is_ours(known.name)}

    def _check_gzip(self, answer: ResponseContextManager) -> None:
        if answer.headers.get("Content-Encoding") != "gzip":
            self.fleet.fault("an answer was not gzipped though it was asked for so", f"{self.name}: {answer.url}")

    def _document(self) -> dict[str, Any]:
        terms, now_ms = self.fleet.terms, _now_ms()
        instance = eureka_instance(self.number)
        lease = {"renewalIntervalInSecs": terms.eureka_interval_s, "durationInSecs": terms.eureka_duration_s}
        return instance | {
            "instanceId": f"{instance['hostName']}:{self.name}",
            "app": self.service.upper(),
            "vipAddress": self.service,
            "secureVipAddress": self.service,
            "leaseInfo": lease,
            "metadata": instance["metadata"] | {"zone": self.zone, MARK: self.name},
            "lastUpdatedTimestamp": now_ms,
            "lastDirtyTimestamp": now_ms,
        }

    def _send(self, instance: Mapping[str, Any], what: str) -> None:
        self.ask("POST", f"/eureka/apps/{instance['app']}", what, {"instance": instance}, accepted=[204])


def _path(instance: Mapping[str, Any]) -> str:
    return f"/eureka/apps/{instance['app']}/{instance['instanceId']}"


def _now_ms() -> str:
    return str(time.time_ns() // 1_000_000)
