"""Clients of ServiceCenter: one finds each provider with `rev` and listens to a watch, the other finds all in a batch.

What they check: while nothing changes, whoever names the revision it has is told that nothing has changed; and the
watch tells of every change, so that a list kept by its events alone is the list that a find gives.
Sources: go-chassis/sc-client, client.go (Find, WatchMicroService); Java-Chassis 2.x, which sets DOWN and then deletes,
and reads its own instance after each heartbeat. The batch is go-chassis' own way of asking, with `rev` added.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Any
from urllib.parse import quote

import gevent
from websockets.exceptions import WebSocketException

from loadtests.fleet import MARK, Client, FleetEnvironment
from loadtests.fleet_watch import Watch
from loadtests.registrations import servicecenter_instance

BASE = "/v4/default/registry"
APP, VERSION = "default", "1.0.0"
PROVIDERS = 4
"""That one go-chassis client follows: a request for each, every time."""


class ChassisClient(Client):
    """What both have in common: a microservice, an instance of it, heartbeats."""

    abstract = True

    def __init__(self, environment: FleetEnvironment) -> None:
        super().__init__(environment)
        self.interval_s = self.fleet.terms.servicecenter_interval_s
        self.service_id = ""
        self.revisions: dict[str, str] = {}
        self.found: dict[str, set[str]] = {}
        """Names by service."""

    def register(self) -> str:
        """An instance that comes back keeps its id, a new one is given one."""
        if not self.service_id:
            self.service_id = self._existing() or self._created()
        known = {"instanceId": self.instance} if self.was_cut_off else {}
        answer = self.ask(
            "POST", self._instances(), "ServiceCenter registration", {"instance": self._document() | known}
        )
        return str(answer.json()["instanceId"]) if answer.status_code == 200 else ""

    def renew(self) -> None:
        """A 400 means: register again. It may only come to one who was away."""
        what, accepted = "ServiceCenter heartbeat", [200]
        if self.was_cut_off:
            what, accepted = "ServiceCenter heartbeat after an absence", [200, 400]
        status = self.ask("PUT", f"{self._instances()}/{self.instance}/heartbeat", what, accepted=accepted).status_code
        if status == 400:
            self.enter()
        elif status == 200:
            self.note_answered()

    def cancel(self, instance: Any) -> None:
        self.ask("DELETE", f"{self._instances()}/{instance}", "ServiceCenter cancellation")

    def note_found(self, service: str, revision: str, instances: Collection[Mapping[str, Any]]) -> None:
        """Called for an answer that is not "unchanged"."""
        if self.fleet.is_still:
            told = f"{self.name} asked for {service} with rev {self.revisions.get(service)}, got {revision}"
            self.fleet.fault("a find was answered in full while nothing changed", told)
        self.revisions[service] = revision
        self.found[service] = {name for name in map(_name, instances) if self.fleet.is_ours(name)}

    def _existing(self) -> str:
        query = f"type=microservice&appId={APP}&serviceName={self.service}&version={VERSION}"
        answer = self.ask("GET", f"{BASE}/existence?{query}", "ServiceCenter existence", accepted=[200, 400])
        return str(answer.json().get("serviceId", "")) if answer.status_code else ""

    def _created(self) -> str:
        service = {"appId": APP, "serviceName": self.service, "version": VERSION}
        answer = self.ask("POST", f"{BASE}/microservices", "ServiceCenter microservice", {"service": service})
        return str(answer.json()["serviceId"]) if answer.status_code == 200 else ""

    def _instances(self) -> str:
        return f"{BASE}/microservices/{self.service_id}/instances"

    def _document(self) -> dict[str, Any]:
        terms, instance = self.fleet.terms, servicecenter_instance(self.number)
        del instance["instanceId"]
        return instance | {
            "hostName": self.name,
            "properties": instance["properties"] | {"zone": self.zone, MARK: self.name},
            "healthCheck": {
                "mode": "push",
                "interval": terms.servicecenter_interval_s,
                "times": terms.servicecenter_times,
            },
        }

    def _headers(self) -> dict[str, str]:
        return {"X-ConsumerId": self.service_id, "X-Domain-Name": "default"}


class GoChassisClient(ChassisClient):
    kind = "go"

    def __init__(self, environment: FleetEnvironment) -> None:
        super().__init__(environment)
        self.told: dict[str, set[str]] = {}
        """Names by service, since its first find kept by events alone."""
        self.early: dict[str, list[dict[str, Any]]] = defaultdict(list)
        """Events of services whose first find is not answered yet."""
        self.watch: Watch | None = None
        self.is_watching = False
        """It means to; the stream must not end before it changes its mind."""

    def on_start(self) -> None:
        super().on_start()
        self._start_watch()

    def reads(self) -> Collection[str]:
        services = self.fleet.services
        return {services[(self.number + step) % len(services)] for step in range(PROVIDERS)}

    def views(self) -> Mapping[str, AbstractSet[str]]:
        return {
            "go-chassis, find": set().union(*self.found.values()),
            "go-chassis, watch": set().union(*self.told.values()),
        }

    def read(self) -> None:
        """A service that nobody has created yet is answered with 400."""
        for service in self.reads():
            query = f"appId={APP}&serviceName={service}&version={quote('0%2B')}&rev={self.revisions.get(service, '')}"
            path, accepted = f"{BASE}/instances?{query}", [200, 304, 400]
            answer = self.ask("GET", path, "ServiceCenter find", headers=self._headers(), accepted=accepted)
            if answer.status_code == 304:
                self.fleet.counted["unchanged"] += 1
            elif answer.status_code == 200:
                revision = answer.headers.get("X-Resource-Revision")
                self.note_found(service, revision, answer.json().get("instances", []))
            if self.watch and service in self.found and service not in self.told:
                self._begin_told(service)

    def on_stop(self) -> None:
        self._stop_watch()

    def cut_off(self) -> None:
        super().cut_off()
        self._stop_watch()
        self.told.clear()
        self.early.clear()

    def come_back(self) -> None:
        super().come_back()
        self._start_watch()

    def _begin_told(self, service: str) -> None:
        self.told[service] = set(self.found[service])
        for event in self.early.pop(service, []):
            self._apply(event)

    def _start_watch(self) -> None:
        self.is_watching = True
        gevent.spawn(self._listen)

    def _listen(self) -> None:
        address = f"{self.host.replace('http', 'ws', 1)}{BASE}/microservices/{self.service_id}/watcher"
        end = "closed by the server"
        try:
            self.watch = Watch(address, self._headers())
            for frame in self.watch:
                self.fleet.counted["events"] += 1
                self._apply(json.loads(frame))
        except (OSError, WebSocketException) as error:
            end = repr(error)
        if self.is_watching:
            self.fleet.fault("a watch ended that its client had not ended", f"{self.name}: {end}")

    def _stop_watch(self) -> None:
        self.is_watching, watch, self.watch = False, self.watch, None
        if watch:
            watch.cut()

    def _apply(self, event: dict[str, Any]) -> None:
        service, name = event["key"]["serviceName"], _name(event["instance"])
        if service not in self.told:
            self.early[service].append(event)
        elif event["action"] == "DELETE":
            self.told[service].discard(name)
        elif self.fleet.is_ours(name):
            self.told[service].add(name)


class JavaChassisClient(ChassisClient):
    kind = "java"

    def views(self) -> Mapping[str, AbstractSet[str]]:
        return {"Java-Chassis, batch": set().union(*self.found.values())}

    def renew(self) -> None:
        super().renew()
        self.ask("GET", f"{self._instances()}/{self.instance}?global=true", "ServiceCenter own instance")

    def cancel(self, instance: Any) -> None:
        self.ask("PUT", f"{self._instances()}/{instance}/status?value=DOWN", "ServiceCenter status DOWN")
        super().cancel(instance)

    def read(self) -> None:
        """All services in one request; entries are told apart by their place in it."""
        services = self.reads()
        asked = [
            {
                "service": {"appId": APP, "serviceName": service, "version": "0.0.0.0+"},
                "rev": self.revisions.get(service, ""),
            }
            for service in services
        ]
        path = f"{BASE}/instances/action?type=query"
        answer = self.ask("POST", path, "ServiceCenter batch find", {"services": asked}, self._headers())
        if answer.status_code != 200:
            return
        told = answer.json()["services"]
        self.fleet.counted["unchanged"] += len(told.get("notModified", []))
        for entry in told.get("updated", []):
            self.note_found(services[entry["index"]], entry["rev"], entry.get("instances", []))


def _name(instance: Mapping[str, Any]) -> str:
    return str(instance.get("properties", {}).get(MARK, ""))
