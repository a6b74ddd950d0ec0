"""Two nodes of ours in front of one registry of each protocol, or of both, and how to look at either side.

An instance is born in the protocol by which it came. Where only one registry is behind us it holds those born in the
other protocol as well, packed into its own documents; of two, each holds its own.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from conformance.eureka.client import JSON, Eureka, instance_path
from conformance.peers.patience import PATIENCE_S
from conformance.peers.processes import Running
from conformance.peers.upstreams import Upstream
from conformance.servicecenter.asking import ServiceCenter

Document = dict[str, Any]

SETUPS: Mapping[str, Sequence[str]] = {
    "servicecenter": ("servicecenter",),
    "eureka": ("eureka",),
    "both": ("servicecenter", "eureka"),
}
"""The protocols of the registries behind us."""

PROTOCOLS = ("eureka", "servicecenter")
SOON_S = PATIENCE_S
"""For what comes within two seconds by design: such machines are busy, and a case asserts that it comes, not when."""
APP = "eureka"
"""The appId under which ServiceCenter's consumers find Eureka's applications, and whose own services Eureka lists."""


@dataclass(frozen=True)
class Born:
    """One instance, under its names in both protocols."""

    protocol: str
    name: str
    """Of the microservice; in capitals that of the application."""
    eureka_id: str
    service_id: str
    sc_id: str

    @property
    def in_eureka(self) -> str:
        """Its path under Eureka's base."""
        return instance_path(self.name.upper(), self.eureka_id)

    @property
    def in_servicecenter(self) -> str:
        """Its path under ServiceCenter's registry."""
        return f"microservices/{self.service_id}/instances/{self.sc_id}"


@dataclass(frozen=True)
class Node:
    """One server of either protocol, or of both."""

    url: str
    eureka: Eureka
    sc: ServiceCenter

    # As its readers see it

    def eureka_lists(self, name: str) -> dict[str, Document]:
        """By instance id, as Eureka lists the application."""
        answer = self.eureka.get(f"apps/{name.upper()}", headers=JSON)
        if answer.status_code == 404:
            return {}
        assert answer.status_code == 200, answer.text
        return {one["instanceId"]: one for one in answer.json()["application"]["instance"]}

    def servicecenter_finds(self, name: str) -> dict[str, Document]:
        """By instance id, as ServiceCenter's consumers find the service."""
        answer = self.sc.find(APP, name, env="")
        return {one["instanceId"]: one for one in answer.instances()} if answer.status == 200 else {}

    def shows(self, born: Born) -> tuple[str, str]:
        """Its status in either view; "" where it is not listed."""
        in_eureka = self.eureka_lists(born.name).get(born.eureka_id, {})
        in_servicecenter = self.servicecenter_finds(born.name).get(born.sc_id, {})
        return in_eureka.get("status", ""), in_servicecenter.get("status", "")

    def live(self, protocol: str, born: Born) -> Document | None:
        """What the server answers in that protocol about the one instance, past its caches; None: there is none."""
        if protocol == "eureka":
            reply = self.eureka.get(born.in_eureka, headers=JSON)
            return dict(reply.json()["instance"]) if reply.status_code == 200 else None
        answer = self.sc.get(born.in_servicecenter, noCache="1")
        return dict(answer.json()["instance"]) if answer.status == 200 else None

    def readiness(self) -> Document:
        return dict(httpx.get(f"{self.url}/readyz").json())

    # As its clients use it

    def register(self, protocol: str, name: str, **changes: Any) -> Born:
        """One instance of that name; `changes` to the document, in the protocol's own words."""
        if protocol == "servicecenter":
            return self._register_in_servicecenter(name, **changes)
        instance_id = changes.pop("instance_id", f"127.0.0.1:{name}:8080")
        answer = self.eureka.register(name.upper(), instance_id, **{"vipAddress": name, **changes})
        assert answer.status_code == 204, answer.text
        found = self._told_of(name, instance_id)
        return Born(protocol, name, instance_id, found.get("serviceId", ""), found.get("instanceId", ""))

    def _told_of(self, name: str, instance_id: str) -> Document:
        """What ServiceCenter's consumers are told of an instance born in Eureka; a Eureka tells them nothing."""
        found = self.servicecenter_finds(name).values()
        return next((one for one in found if one["properties"].get("_eureka.instanceId") == instance_id), {})

    def _register_in_servicecenter(self, name: str, **changes: Any) -> Born:
        service_id = self.create_service(name)
        instance = {"hostName": "h1", "endpoints": ["rest://10.0.0.1:8080"], **changes}
        answer = self.sc.post(f"microservices/{service_id}/instances", {"instance": instance})
        assert answer.status == 200, answer.text
        instance_id = answer.json()["instanceId"]
        return Born("servicecenter", name, instance_id, service_id, instance_id)

    def create_service(self, name: str, **members: Any) -> str:
        """In APP and no environment, where Eureka's clients see its instances."""
        service = {"appId": APP, "serviceName": name, "version": "0.0.1", **members}
        answer = self.sc.post("microservices", {"service": service})
        assert answer.status == 200, answer.text
        return str(answer.json()["serviceId"])

    def renew(self, born: Born) -> int:
        """The status code that its own client gets."""
        if born.protocol == "eureka":
            return self.eureka.put(born.in_eureka).status_code
        return self.sc.put(f"{born.in_servicecenter}/heartbeat").status

    def cancel(self, born: Born) -> int:
        if born.protocol == "eureka":
            return self.eureka.delete(born.in_eureka).status_code
        return self.sc.delete(born.in_servicecenter).status

    def drain(self, protocol: str, born: Born) -> int:
        """An operator's word in either protocol, whichever it was born in."""
        if protocol == "eureka":
            return self.eureka.put(f"{born.in_eureka}/status?value=OUT_OF_SERVICE").status_code
        return self.sc.put(f"{born.in_servicecenter}/status?value=OUTOFSERVICE").status

    def put_back(self, protocol: str, born: Born) -> int:
        if protocol == "eureka":
            return self.eureka.delete(f"{born.in_eureka}/status?value=UP").status_code
        return self.sc.put(f"{born.in_servicecenter}/status?value=UP").status


@dataclass(frozen=True)
class Setup:
    name: str
    upstreams: Mapping[str, Upstream]
    node: Node
    other: Node
    """A second one, with a data directory of its own: what it knows it has read behind us."""
    straight_to: Mapping[str, Node]
    """The registries behind us, to be asked past us."""
    running: Running
    """The process of the first node."""

    def keeper(self, protocol: str) -> Upstream:
        """Which registry holds the instances that are born in a protocol."""
        return self.upstreams.get(protocol) or next(iter(self.upstreams.values()))

    def straight(self, protocol: str) -> Node:
        """That registry, to be asked past us."""
        return self.straight_to[self.keeper(protocol).protocol]

    def behind(self, born: Born) -> Document | None:
        """What the registry that holds it answers, asked live; None: it holds no such instance."""
        return self.straight(born.protocol).live(self.keeper(born.protocol).protocol, born)


def unique_name(prefix: str = "svc") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def soon(check: Callable[[], object], within_s: float = SOON_S) -> float:
    """Run the check until it passes; returns how long that took."""
    began_s = time.monotonic()
    while True:
        try:
            check()
        except (AssertionError, LookupError, ValueError, httpx.TransportError, OSError):
            if time.monotonic() - began_s >= within_s:
                raise
            time.sleep(0.05)
        else:
            return time.monotonic() - began_s
